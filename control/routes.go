package control

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// visitPath is where the monitor page exchanges its token.
const visitPath = "/monitor/visit"

// route is one call of the API. openapi.json lists the same ones.
type route struct {
	method, path string
	page         bool // the monitor page may call it too
	answer       func(s *Server, w http.ResponseWriter, r *http.Request) error
}

// routes are all calls of the API. What the page may do is what a person does
// with jobs: it can't add files, reach packages or end the controller, so a page
// that went astray can't make the controller read anything.
func routes() []route {
	return []route{
		{"GET", "/v1/openapi.json", false, (*Server).openapi},
		{"GET", "/v1/status", true, (*Server).status},
		{"GET", "/v1/jobs", true, (*Server).list},
		{"POST", "/v1/jobs/{verb}", true, (*Server).do},
		{"GET", "/v1/watch", true, (*Server).watch},
		{"POST", "/v1/packages", false, (*Server).newPackage},
		{"GET", "/v1/packages/{package}", false, (*Server).getPackage},
		{"DELETE", "/v1/packages/{package}", false, (*Server).discard},
		{"POST", "/v1/packages/{package}/items", false, (*Server).addFile},
		{"DELETE", "/v1/packages/{package}/items/{item}", false, (*Server).removeItem},
		{"POST", "/v1/packages/{package}/commit", false, (*Server).commit},
		{"GET", "/v1/destinations", false, (*Server).destinations},
		{"POST", "/v1/destinations/{destination}/test", false, (*Server).testDestination},
		{"POST", "/v1/monitor", false, (*Server).openMonitor},
		{"POST", "/v1/quit", false, (*Server).quit},
	}
}

func (s *Server) mux(f face) *http.ServeMux {
	m := http.NewServeMux()
	for _, c := range routes() {
		if f == faceTLS || c.page {
			m.Handle(c.method+" "+c.path, s.handle(c.answer))
		}
	}
	m.Handle("/v1/", s.handle((*Server).unknown))
	if f == faceTLS || s.config.Monitor == nil {
		m.Handle("/", s.handle((*Server).unknown))
		return m
	}
	m.Handle("POST "+visitPath, http.MaxBytesHandler(s.handle((*Server).visit), maxToken))
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		patient(w)
		s.config.Monitor.ServeHTTP(w, r)
	})
	return m
}

// handle turns what a call returns into an answer. The body is taken whole
// first: with its end net/http lifts the deadline of the request, and a call may
// run for as long as whoever asked is still there.
func (s *Server) handle(answer func(*Server, http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			s.fail(w, r, usage("the request's body did not arrive whole: "+err.Error(),
				"Send at most 1 MiB, without pauses; the bytes of items go through the engine."))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err := answer(s, w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := AsError(err)
	if e.Cause != nil && r.Context().Err() == nil {
		level := slog.LevelError
		if e.Code != CodeFailed { // the caller's mistake, or the way things are
			level = slog.LevelInfo
		}
		_, path, _ := strings.Cut(r.Pattern, "/") // without the method
		s.config.Log.Log(r.Context(), level, "a control call failed", "method", r.Method, "path", "/"+path, "code", e.Code, "error", err)
	}
	_, status := e.Code.meaning()
	reply(w, status, e)
}

func (s *Server) unknown(_ http.ResponseWriter, r *http.Request) error {
	return &Error{
		Code:    CodeNotFound,
		Message: "there is no call " + r.Method + " " + r.URL.Path,
		Next:    "See /v1/openapi.json for the calls there are.",
	}
}

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	patient(w)
	_, _ = w.Write(Definition())
	return nil
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	v, err := s.config.Service.Status(r.Context())
	return respond(w, http.StatusOK, v, err)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) error {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	jobs, err := s.config.Service.List(r.Context(), f)
	return respond(w, http.StatusOK, JobList{some(jobs)}, err)
}

func (s *Server) do(w http.ResponseWriter, r *http.Request) error {
	v := Verb(r.PathValue("verb"))
	switch v {
	case Pause, Resume, Cancel, Retry:
	default:
		return s.unknown(w, r)
	}
	sel, err := read[Select](r)
	if err != nil {
		return err
	}
	if sel.All == (len(sel.IDs) > 0) {
		return usage("name either some jobs or all of them", `Send {"ids":["…"]} or {"all":true}.`)
	}
	out, err := s.config.Service.Do(r.Context(), v, sel)
	return respond(w, http.StatusOK, OutcomeList{some(out)}, err)
}

func (s *Server) destinations(w http.ResponseWriter, r *http.Request) error {
	d, err := s.config.Service.Destinations(r.Context())
	return respond(w, http.StatusOK, DestinationList{some(d)}, err)
}

func (s *Server) testDestination(w http.ResponseWriter, r *http.Request) error {
	return s.command(w, r, func() error {
		return s.config.Service.TestDestination(r.Context(), r.PathValue("destination"))
	})
}

func (s *Server) quit(w http.ResponseWriter, r *http.Request) error {
	return s.command(w, r, func() error { return s.config.Service.Quit(r.Context()) })
}
