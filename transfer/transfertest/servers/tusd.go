package servers

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/tus/tusd/v2/pkg/filestore"
	tusd "github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"golang.org/x/exp/slog"
)

// TUS serves tusd's handler on a listener of its own in this process. It takes
// the bearer that stands in Password and serves uploads back.
func TUS(_ context.Context, dir string) (*Server, error) {
	root := filepath.Join(dir, "tus")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	s := &Server{Kind: "tusd", Password: "tus-secret", Root: root}
	h, err := tusHandler(s)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.Addr = l.Addr().String()
	s.URL = "http://" + s.Addr + "/files/"
	web := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	s.stop = func() error {
		err := web.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}
	return s, nil
}

func tusHandler(s *Server) (http.Handler, error) {
	composer := tusd.NewStoreComposer()
	filestore.New(s.Root).UseIn(composer)
	memorylocker.New().UseIn(composer)
	h, err := tusd.NewHandler(tusd.Config{
		StoreComposer: composer, BasePath: "/files/",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return nil, err
	}
	files := http.StripPrefix("/files/", h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The link is its own key; everything else needs the bearer.
		if r.Method != http.MethodGet && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+s.Password)) != 1 {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}), nil
}
