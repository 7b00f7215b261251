package main

import (
	"context"
	"path/filepath"

	"berth/control"
	"berth/transfer"
)

// The packages that are being collected.

func (s *service) New(_ context.Context, n control.NewPackage) (control.Package, error) {
	c, err := s.targets.config()
	if err != nil {
		return control.Package{}, err
	}
	to, err := c.resolve(n.Destination)
	if err != nil {
		return control.Package{}, err
	}
	p, err := s.queue.NewPackage(n.Name, to)
	if err != nil {
		return control.Package{}, apiError(err)
	}
	return controlPackage(p), nil
}

func (s *service) AddFile(ctx context.Context, id string, f control.AddFile) (control.Item, error) {
	p, err := s.collecting(id)
	if err != nil {
		return control.Item{}, err
	}
	if !filepath.IsAbs(f.Path) {
		return control.Item{}, usage("the path of a file must be absolute, not "+f.Path, "")
	}
	it, err := p.AddFile(ctx, f.Path, f.Name)
	return answer(controlItem(it), err)
}

func (s *service) RemoveItem(_ context.Context, id, item string) error {
	p, err := s.collecting(id)
	if err != nil {
		return err
	}
	_, err = answer(0, p.Remove(item))
	return err
}

func (s *service) Package(_ context.Context, id string) (control.Package, error) {
	p, err := s.collecting(id)
	if err != nil {
		return control.Package{}, err
	}
	return controlPackage(p), nil
}

// Commit answers the same job again when it is asked again, because the client
// may have lost the first answer.
func (s *service) Commit(ctx context.Context, id string) (control.Job, error) {
	if j, ok := s.queue.Job(id); ok {
		return s.job(j), nil
	}
	p, err := s.collecting(id)
	if err != nil {
		if j, ok := s.queue.Job(id); ok { // the other call was just being answered
			return s.job(j), nil
		}
		return control.Job{}, err
	}
	j, err := p.Commit(ctx)
	if err != nil {
		return control.Job{}, apiError(err)
	}
	return s.job(j), nil
}

func (s *service) Discard(_ context.Context, id string) error {
	p, err := s.collecting(id)
	if err != nil {
		return err
	}
	_, err = answer(0, p.Discard())
	return err
}

func (s *service) collecting(id string) (*transfer.Package, error) {
	p, ok := s.queue.Package(id)
	if !ok {
		return nil, noPackage(id)
	}
	return p, nil
}

func noPackage(id string) error {
	return failure(control.CodeNotFound,
		"Packages that were not committed end with the controller that collected them: collect it again.",
		"there is no package %q being collected", id)
}
