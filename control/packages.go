package control

import "net/http"

func (s *Server) newPackage(w http.ResponseWriter, r *http.Request) error {
	in, err := read[NewPackage](r)
	if err != nil {
		return err
	}
	p, err := s.config.Service.New(r.Context(), in)
	return respond(w, http.StatusCreated, p, err)
}

func (s *Server) getPackage(w http.ResponseWriter, r *http.Request) error {
	p, err := s.config.Service.Package(r.Context(), r.PathValue("package"))
	return respond(w, http.StatusOK, p, err)
}

func (s *Server) addFile(w http.ResponseWriter, r *http.Request) error {
	in, err := read[AddFile](r)
	if err != nil {
		return err
	}
	it, err := s.config.Service.AddFile(r.Context(), r.PathValue("package"), in)
	return respond(w, http.StatusCreated, it, err)
}

func (s *Server) commit(w http.ResponseWriter, r *http.Request) error {
	if _, err := read[struct{}](r); err != nil {
		return err
	}
	j, err := s.config.Service.Commit(r.Context(), r.PathValue("package"))
	return respond(w, http.StatusCreated, j, err)
}

func (s *Server) removeItem(w http.ResponseWriter, r *http.Request) error {
	err := s.config.Service.RemoveItem(r.Context(), r.PathValue("package"), r.PathValue("item"))
	return done(w, err)
}

func (s *Server) discard(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.config.Service.Discard(r.Context(), r.PathValue("package")))
}
