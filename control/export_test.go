package control

import "golang.org/x/time/rate"

// Hurry lifts the back-off, which has a test of its own.
func (s *Server) Hurry() { s.failures.SetLimit(rate.Inf) }

// MaxStrangers is the room for connections that have proved nothing.
const MaxStrangers = maxStrangers

// MaxHeader is what a request's head may have.
const MaxHeader = maxHeader

// ReadRequest is how long a whole request may take to arrive.
const ReadRequest = readRequest

// Calls lists "METHOD path" of every route, and whether the page may use it.
func Calls() map[string]bool {
	m := map[string]bool{}
	for _, r := range routes() {
		m[r.method+" "+r.path] = r.page
	}
	return m
}
