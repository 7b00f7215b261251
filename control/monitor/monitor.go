// Package monitor is the page on which a person watches the controller of the
// session in a browser and commands its jobs.
//
// [Handler] serves the page's files; they hold nothing about anyone. The page
// gets in with the token in the fragment of the address that [OpenFile] leads
// it to, which it exchanges for a bearer of its own (see
// [berth/control.Server.OpenMonitor]).
package monitor

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"berth/control"
)

//go:embed page
var files embed.FS

// Handler serves the page. Everything else about a request, its origin first of
// all, is the control server's business.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, kind := file(r.URL.Path)
		body, err := files.ReadFile("page/" + name)
		if name == "" || err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(body)
	})
}

// file is what answers a path and its type, which must not depend on what the
// system believes about file names: a browser runs no script of another type.
func file(path string) (name, kind string) {
	switch path {
	case "/":
		return "index.html", "text/html; charset=utf-8"
	case "/app.js":
		return "app.js", "text/javascript; charset=utf-8"
	case "/style.css":
		return "style.css", "text/css; charset=utf-8"
	case "/icon.svg":
		return "icon.svg", "image/svg+xml"
	}
	return "", ""
}

const opener = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url={{.}}">
<title>Berth</title>
<p><a href="{{.}}">Open the transfers of this session.</a> This link works once, for two minutes.</p>
`

// OpenFile writes a page into dir that leads a browser to the monitor, and
// answers its path. Only the user can read it, so that the token is never in an
// argument list; it takes the place of the one written before. Dir is the
// session's runtime directory.
func OpenFile(dir string, a control.MonitorAccess) (string, error) {
	u, err := url.Parse(a.URL)
	if err != nil || u.Scheme != "http" || a.Token == "" {
		return "", errors.New("monitor: the controller gave no usable address of its page")
	}
	u.Fragment = a.Token
	f, err := os.CreateTemp(dir, "monitor-*.html") // 0600, never an existing file
	if err != nil {
		return "", fmt.Errorf("write the page that opens the monitor: %w", err)
	}
	final := filepath.Join(dir, "monitor.html")
	err = template.Must(template.New("opener").Parse(opener)).Execute(f, u.String())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), final)
	}
	if err != nil {
		return "", fmt.Errorf("write the page that opens the monitor: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return final, nil
}
