package control

import (
	"crypto/subtle"
	"encoding/json"
	"mime"
	"net/http"
	pathpkg "path"
	"strings"
	"time"
)

// guard stands before every request of a face. Its order matters: who could be
// a web page is turned away before anything else is looked at, and who has not
// proved himself learns nothing, not even which paths exist.
func (s *Server) guard(f face, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		if why := s.foreign(f, r); why != "" {
			s.refuse(w, r, http.StatusForbidden, why)
			return
		}
		if !s.public(f, r) && !s.proven(f, r) {
			s.unproven(w, r)
			return
		}
		if !s.public(f, r) && !s.crowd.promote(r.Context().Value(connKey{}).(*conn)) {
			s.refuse(w, r, http.StatusServiceUnavailable, "too many connections are open")
			return
		}
		if r.Method == http.MethodPost && !isJSON(r) {
			s.refuse(w, r, http.StatusUnsupportedMediaType, "a POST must carry application/json")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// harden sets what every answer says to a browser.
func harden(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; "+
		"img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "+
		"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// foreign says why a request can't come from one of ours; "" when it can.
func (s *Server) foreign(f face, r *http.Request) string {
	switch {
	case r.Host != s.address():
		return "the Host header is not this controller's address"
	case r.URL.Host != "" || !strings.HasPrefix(r.URL.Path, "/") || pathpkg.Clean(r.URL.Path) != r.URL.Path:
		return "only plain paths are answered"
	case r.Header.Get("Upgrade") != "":
		return "there is nothing to upgrade to"
	case r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodDelete:
		return "this method is not answered"
	case f == faceTLS && fromBrowser(r):
		return "browsers have no business on this face"
	case f == facePlain && !s.fromPage(r):
		return "the request comes from another site"
	}
	return ""
}

// fromBrowser tells whether a browser sent r: programs send none of these.
func fromBrowser(r *http.Request) bool {
	for _, name := range []string{"Origin", "Referer", "Cookie", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
		if _, there := r.Header[name]; there {
			return true
		}
	}
	return false
}

// fromPage tells whether r can come from the monitor page or from the user's own
// opening of it. Every value that a header has must be right.
func (s *Server) fromPage(r *http.Request) bool {
	own := "http://" + s.address()
	for _, origin := range r.Header["Origin"] {
		if origin != own {
			return false
		}
	}
	for _, referer := range r.Header["Referer"] {
		if !strings.HasPrefix(referer, own+"/") {
			return false
		}
	}
	for _, site := range r.Header["Sec-Fetch-Site"] {
		// The user's file leads here from another origin: the top of a tab only.
		opened := r.Method == http.MethodGet && r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Dest") == "document"
		if site != "same-origin" && site != "none" && !opened {
			return false
		}
	}
	return r.Method != http.MethodPost || len(r.Header["Origin"]) == 1
}

// public tells whether r needs no proof: the page's own files, which hold
// nothing about anyone, and the exchange of a token, which is the proof.
func (s *Server) public(f face, r *http.Request) bool {
	if f != facePlain || strings.HasPrefix(r.URL.Path, "/v1/") {
		return false
	}
	return r.Method == http.MethodGet || r.URL.Path == visitPath
}

// proven checks the bearer of r, which each face has of its own: the session key
// never travels in the clear, and a visit's bearer is no use to a program.
func (s *Server) proven(f face, r *http.Request) bool {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	bearer, ok := strings.CutPrefix(values[0], "Bearer ")
	if !ok {
		return false
	}
	if f == faceTLS {
		return r.TLS != nil && subtle.ConstantTimeCompare([]byte(bearer), []byte(s.bearer)) == 1
	}
	return s.visitors.welcome(bearer)
}

// unproven answers a request without proof: ever more slowly, and only to those
// who wait for it. Whoever has the proof is never slowed down.
func (s *Server) unproven(w http.ResponseWriter, r *http.Request) {
	wait := s.failures.Reserve()
	if delay := wait.Delay(); delay > 2*time.Second {
		wait.Cancel()
		s.noise.Do(func() { s.config.Log.Warn("many wrong credentials on the control port") })
		panic(http.ErrAbortHandler) // closes the connection without an answer
	} else if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		case <-s.ending.Done():
		}
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	s.refuse(w, r, http.StatusUnauthorized, "the credentials are missing, wrong or of an earlier controller")
}

// refuse answers with status and closes the connection.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	s.noise.Do(func() {
		s.config.Log.Warn("refused a request on the control port", "method", r.Method, "status", status, "why", why)
	})
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(&Error{Code: CodeRefused, Message: "refused: " + why, Next: nextStep(status)})
}

func nextStep(status int) string {
	if status == http.StatusUnauthorized {
		return "Run `controller open` for the monitor page; a program looks the port record up again."
	}
	return ""
}

func isJSON(r *http.Request) bool {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	return err == nil && kind == "application/json" && (charset == "" || charset == "utf-8")
}

func (s *Server) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.origin
}
