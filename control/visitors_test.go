package control

import (
	"net"
	"testing"
	"time"
)

func TestVisitors(t *testing.T) {
	now := time.Unix(1000, 0)
	v := newVisitors()
	v.now = func() time.Time { return now }

	token, expires := v.invite()
	if len(token) != 64 || !expires.Equal(now.Add(tokenLife)) {
		t.Fatalf("token %q until %v", token, expires)
	}
	now = expires
	if _, ok := v.admit(token); ok {
		t.Error("an expired token let someone in")
	}
	token, _ = v.invite()
	now = now.Add(tokenLife - 1)
	bearer, ok := v.admit(token)
	if !ok || bearer == token {
		t.Fatal("a token does not let anyone in")
	}
	if _, again := v.admit(token); again || v.welcome(token) || v.welcome("") {
		t.Error("a token or nothing is taken where it must not be")
	}
	for range 5 { // prolonged by use
		now = now.Add(visitLife - 1)
		if !v.welcome(bearer) {
			t.Fatal("a visit ended while it was used")
		}
	}
	if now = now.Add(visitLife); v.welcome(bearer) {
		t.Error("a visit outlived its time")
	}
}

func TestVisitorsAreFew(t *testing.T) {
	now := time.Unix(1000, 0)
	v := newVisitors()
	v.now = func() time.Time { return now }
	var tokens, bearers []string
	for range 3 * maxVisitors {
		now = now.Add(time.Millisecond)
		token, _ := v.invite()
		bearer, ok := v.admit(token)
		if !ok {
			t.Fatal("not let in")
		}
		unused, _ := v.invite()
		tokens, bearers = append(tokens, unused), append(bearers, bearer)
	}
	if len(v.tokens) != maxTokens || len(v.visits) != maxVisitors {
		t.Fatalf("%d tokens, %d visits", len(v.tokens), len(v.visits))
	}
	for i, b := range bearers {
		if newest := i >= len(bearers)-maxVisitors; v.welcome(b) != newest {
			t.Errorf("visit %d: welcome %v", i, !newest)
		}
	}
	if _, ok := v.admit(tokens[0]); ok {
		t.Error("the oldest token is still good")
	}
	if _, ok := v.admit(tokens[len(tokens)-1]); !ok {
		t.Error("the newest token is no good")
	}
}

func TestCrowd(t *testing.T) {
	c := newCrowd(2, 1)
	enter := func() *conn {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		n := &conn{Conn: near, crowd: c}
		c.enter(n)
		return n
	}
	open := func(n *conn) bool { return n.Conn.SetDeadline(time.Time{}) == nil }
	first, second := enter(), enter()
	for range 2 {
		if !c.promote(first) {
			t.Error("one friend has room, and stays one")
		}
	}
	if c.promote(second) {
		t.Error("another one has no room")
	}
	third, fourth := enter(), enter()
	if open(second) || !open(first) || !open(third) || !open(fourth) {
		t.Error("the oldest stranger must go, and nobody else")
	}
	if c.promote(second) {
		t.Error("who has been sent away is not promoted")
	}
	_ = first.Close()
	if !c.promote(third) {
		t.Error("a friend who left has left his room")
	}
	c.shut()
	if late := enter(); open(late) || open(fourth) || !open(third) {
		t.Error("after shut there are friends only")
	}
	if c.disperse(); open(third) || len(c.place)+len(c.known)+c.waiting.Len() != 0 {
		t.Error("somebody is left")
	}
}

func TestMailbox(t *testing.T) {
	m := newMailbox()
	job := func(id string, done int64) Event { return Event{Type: EventJob, Job: &Job{ID: id, BytesDone: done}} }
	for _, e := range []Event{job("a", 1), job("b", 1), {Type: EventReady}, job("a", 2), {Type: EventRemoved, ID: "b"}, job("c", 1)} {
		m.put(e)
	}
	m.end()
	events, ended := m.take()
	if len(events) != 4 || !ended || events[0].Job.BytesDone != 2 || events[1].Type != EventRemoved ||
		events[2].Type != EventReady || events[3].Job.ID != "c" {
		t.Errorf("%+v, ended %v", events, ended)
	}
	if events, _ := m.take(); len(events) != 0 {
		t.Errorf("%d are left", len(events))
	}
}
