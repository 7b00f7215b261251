package transfer

import (
	"errors"
	"slices"
	"testing"
)

func TestList(t *testing.T) {
	q := open(t, t.TempDir(), mem{offline()})
	var ids []string
	for n := range 6 {
		ids = append(ids, submit(t, q, random(10)).ID)
		if n%2 == 1 {
			if err := q.Pause(ids[n]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		f    Filter
		want []string
	}{
		"all":           {Filter{}, ids},
		"newest":        {Filter{Limit: 2}, ids[4:]},
		"more":          {Filter{Limit: 100}, ids},
		"page":          {Filter{Limit: 2, Before: ids[4]}, ids[2:4]},
		"first page":    {Filter{Limit: 2, Before: ids[1]}, ids[:1]},
		"before":        {Filter{Before: ids[3]}, ids[:3]},
		"nothing":       {Filter{Before: ids[0]}, nil},
		"paused":        {Filter{States: []State{Paused}}, []string{ids[1], ids[3], ids[5]}},
		"newest paused": {Filter{States: []State{Paused}, Limit: 1, Before: ids[5]}, ids[3:4]},
		"done or not":   {Filter{States: []State{Done, Paused}, Limit: 1}, ids[5:]},
		"some":          {Filter{IDs: []string{ids[4], ids[0], "x"}}, []string{ids[0], ids[4]}},
	} {
		jobs, err := q.List(c.f)
		var got []string
		for _, j := range jobs {
			got = append(got, j.ID)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
	if _, err := q.List(Filter{Before: newID()}); !errors.Is(err, ErrNotFound) {
		t.Errorf("before a job that nobody knows: %v", err)
	}
	if n := q.Count(); n[Paused] != 3 || n[Done] != 0 || n[Paused]+n[Queued]+n[Uploading] != 6 {
		t.Errorf("counted %v", n)
	}
}
