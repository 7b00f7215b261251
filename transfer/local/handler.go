package local

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tus/tusd/v2/pkg/filestore"
	tusd "github.com/tus/tusd/v2/pkg/handler"
	xslog "golang.org/x/exp/slog"

	"berth/transfer/tus"
)

const uploadURL = "http://berth.invalid/upload/" // only the pipe answers to it

// uploadHandler is tusd's, over our directory. An object is only ever uploaded by
// the one process whose queue holds it, so that locks in memory are enough.
func uploadHandler(st *store, log *slog.Logger) (http.Handler, error) {
	composer := tusd.NewStoreComposer()
	files := filestore.New(st.dir)
	composer.UseCore(files)
	composer.UseTerminater(files)
	composer.UseLocker(&locks{held: map[string]chan struct{}{}})
	h, err := tusd.NewHandler(tusd.Config{
		StoreComposer: composer, BasePath: uploadURL, DisableDownload: true, DisableConcatenation: true,
		Cors: &tusd.CorsConfig{Disable: true}, Logger: tusdLog(log), NetworkTimeout: idleTimeout,
		// tusd keeps a goroutine for this long after each request.
		GracefulRequestCompletionTimeout: time.Second,
		PreUploadCreateCallback:          st.admit,
	})
	return http.StripPrefix("/upload", h), err
}

// admit gives a new upload the ID that its queue chose. A second creation under
// the same ID starts the file anew, unless it is finished.
func (s *store) admit(e tusd.HookEvent) (r tusd.HTTPResponse, c tusd.FileInfoChanges, err error) {
	id := e.Upload.MetaData[tus.IDKey]
	if !validID(id) {
		return r, c, tusd.NewError("ERR_ID", "an upload here needs an id", http.StatusBadRequest)
	}
	if _, err := s.committed(id); err == nil {
		return r, c, tusd.NewError("ERR_EXISTS", "this object is finished", http.StatusConflict)
	}
	c.ID = id
	return r, c, nil
}

// download serves finished objects under /<id>/<name>; everything else does not
// exist. The name is part of the link: it has to match.
func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	guard(w.Header())
	if r.Host != s.host { // a name that somebody's DNS bent to 127.0.0.1
		http.Error(w, "unknown host", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	id, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	rec, err := s.store.committed(id)
	if err != nil || rec.Name != name {
		http.NotFound(w, r)
		return
	}
	s.serve(w, r, id, rec)
}

// guard sets what every answer carries: no sniffing, no framing, no script, no
// use by other origins, no address handed on to others.
func guard(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, id string, rec record) {
	f, err := os.Open(s.store.data(id))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Error("local destination: a finished object can't be read", "error", err)
		}
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", contentType(rec.Type))
	h.Set("Content-Disposition", disposition(rec.Name))
	h.Set("ETag", `"`+id+`"`) // an object never changes
	h.Set("Cache-Control", "private, no-cache")
	http.ServeContent(w, r, "", rec.Modified, f)
}

// tusdLog passes tusd's errors on; the rest is a line or more per request.
func tusdLog(log *slog.Logger) *xslog.Logger {
	return xslog.New(xslog.NewTextHandler(lines{log}, &xslog.HandlerOptions{Level: xslog.LevelError}))
}

type lines struct{ log *slog.Logger }

func (l lines) Write(p []byte) (int, error) {
	l.log.Debug("local destination", "tusd", string(bytes.TrimSpace(p)))
	return len(p), nil
}
