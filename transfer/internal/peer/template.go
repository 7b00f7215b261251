package peer

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"berth/transfer"
)

// DefaultPath puts each object into a directory of its own, whose name nobody
// can guess: the link gives nothing away and names never collide.
const DefaultPath = "{id}/{name}"

// Template is a path or a link with the variables {id} and {name}.
type Template string

// Check reports a template that can't name objects apart.
func (t Template) Check() error {
	s := string(t)
	if !strings.Contains(s, "{id}") && !strings.Contains(s, "{name}") {
		return fmt.Errorf("template %q has neither {id} nor {name}: every object would get the same name", s)
	}
	if strings.ContainsAny(s, "\r\n\x00") {
		return fmt.Errorf("template %q contains a control character", s)
	}
	return nil
}

// Link fills in the template for a URL. It is false without a template.
func (t Template) Link(o transfer.Object) (string, bool) {
	if t == "" {
		return "", false
	}
	return t.expand(o.ID, url.PathEscape(o.Name)), true
}

func (t Template) expand(id, name string) string {
	return strings.NewReplacer("{id}", id, "{name}", name).Replace(string(t))
}

// own reports whether each object has a directory of its own.
func (t Template) own() bool { return strings.Contains(path.Dir(string(t)), "{id}") }

// Place is where an object lives on a server of files.
type Place struct {
	Final string // its name once committed
	Part  string // its name until then, in the same directory
	Own   bool   // nobody else has files in the directory: it may be emptied and removed
}

// Dir is the directory of both names.
func (p Place) Dir() string { return path.Dir(p.Final) }

// maxName is what common file systems allow for one path element, in bytes.
const maxName = 255

// Place says where o goes below dir. The temporary name can't be met by chance:
// either its directory or the name itself carries the object's random ID.
func (t Template) Place(dir string, o transfer.Object) (Place, error) {
	if err := checkObject(o); err != nil {
		return Place{}, err
	}
	if t == "" {
		t = DefaultPath
	}
	final := path.Join(dir, t.expand(o.ID, o.Name))
	part := final + ".part"
	if !t.own() || len(path.Base(part)) > maxName {
		part = path.Join(path.Dir(final), "."+o.ID+".part")
	}
	return Place{Final: final, Part: part, Own: t.own()}, nil
}

// Within is the inverse of Place for a handle that an earlier configuration
// chose: the part is where the handle says, the rest lies beside it.
func (t Template) Within(part string, o transfer.Object) (Place, error) {
	p, err := t.Place(path.Dir(part), o)
	if err != nil {
		return Place{}, err
	}
	own := strings.Contains(path.Dir(part), o.ID)
	return Place{Final: path.Join(path.Dir(part), path.Base(p.Final)), Part: part, Own: own}, nil
}

// checkObject refuses what could leave the directory or break a command line,
// even though the queue made the name safe: a backend is used by others too.
func checkObject(o transfer.Object) error {
	for _, s := range []string{o.ID, o.Name} {
		if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\\r\n\x00") {
			return fmt.Errorf("%w: %q can't be a file name on the server", transfer.ErrPermanent, s)
		}
	}
	if o.Size < 0 {
		return errors.Join(transfer.ErrPermanent, fmt.Errorf("size %d of %q is negative", o.Size, o.Name))
	}
	return nil
}
