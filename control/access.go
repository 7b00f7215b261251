package control

import (
	"net/http"
	"time"
)

// visitToken and visitBearer are the exchange of the monitor page.
type (
	visitToken struct {
		Token string `json:"token"`
	}
	visitBearer struct {
		Bearer string `json:"bearer"`
	}
)

// OpenMonitor makes a way into the monitor page that works once and for two
// minutes. Programs outside the controller ask by [Client.OpenMonitor].
func (s *Server) OpenMonitor() (MonitorAccess, error) {
	origin := s.address()
	if s.config.Monitor == nil {
		return MonitorAccess{}, &Error{Code: CodeConflict, Message: "this controller has no monitor page", Next: "Use `controller watch`."}
	}
	if origin == "" {
		return MonitorAccess{}, &Error{Code: CodeConflict, Message: "the controller does not listen yet", Next: "Try again in a moment."}
	}
	token, expires := s.visitors.invite()
	return MonitorAccess{URL: "http://" + origin + "/", Token: token, Expires: expires.Round(time.Second)}, nil
}

func (s *Server) openMonitor(w http.ResponseWriter, r *http.Request) error {
	if _, err := read[struct{}](r); err != nil {
		return err
	}
	a, err := s.OpenMonitor()
	return respond(w, http.StatusCreated, a, err)
}

// visit exchanges a token for the bearer of a visit.
func (s *Server) visit(w http.ResponseWriter, r *http.Request) error {
	in, err := read[visitToken](r)
	if err != nil {
		return err
	}
	bearer, ok := s.visitors.admit(in.Token)
	if !ok {
		s.unproven(w, r)
		return nil
	}
	return respond(w, http.StatusCreated, visitBearer{bearer}, nil)
}
