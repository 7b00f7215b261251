package main

import (
	"berth/control"
	"berth/transfer"
)

// What the queue knows, in the words of the API.

func (s *service) job(j transfer.Job) control.Job {
	c := control.Job{
		ID: j.ID, Name: j.Name, State: string(j.State), Destination: j.Destination,
		BytesDone: j.BytesDone(), BytesTotal: j.BytesTotal(), Rate: j.Rate,
		Error: j.Error, Created: j.Created, Links: []string{}, Items: []control.Item{},
	}
	if j.Refused {
		c.ErrorCode = control.CodeRefused
	}
	for _, it := range j.Items {
		c.BytesResent += it.Resent
		item := controlItem(it)
		if j.Destination == localName && item.Link != "" {
			item.Link = s.localLink(it)
		}
		if item.Link != "" {
			c.Links = append(c.Links, item.Link)
		}
		c.Items = append(c.Items, item)
	}
	return c
}

// localLink is the link of today: the server inside this process may have
// another port than the one that was running when the job was accepted.
func (s *service) localLink(it transfer.Item) string {
	if link, ok := s.targets.local.Backend().Link(it.Object, ""); ok {
		return link
	}
	return it.Link
}

func (s *service) event(ev transfer.Event) control.Event {
	switch ev.Kind {
	case transfer.JobChanged:
		j := s.job(ev.Job)
		return control.Event{Type: control.EventJob, Job: &j}
	case transfer.JobRemoved:
		return control.Event{Type: control.EventRemoved, ID: ev.ID}
	case transfer.WatchReady:
		return control.Event{Type: control.EventReady}
	}
	return control.Event{Type: control.EventDraining}
}

func controlItem(it transfer.Item) control.Item {
	return control.Item{
		ID: it.ID, Name: it.Name, Path: it.Path, BytesDone: it.Done,
		Size: it.Size, SHA256: it.SHA256, Link: it.Link,
	}
}

func controlPackage(p *transfer.Package) control.Package {
	c := control.Package{ID: p.ID(), Name: p.Name(), Destination: p.Destination(), Items: []control.Item{}}
	for _, it := range p.Items() {
		c.Items = append(c.Items, controlItem(it))
	}
	return c
}
