package main

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"
)

func parseURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := destination{URL: s}.parse()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSecretsInFile(t *testing.T) {
	t.Setenv("BERTH_KEYRING", "off")
	s := secrets{file: filepath.Join(t.TempDir(), "deep", "credentials.json")}
	u, ctx := parseURL(t, "sftp://ann@host/d"), context.Background()
	if _, err := s.get(ctx, u); err == nil || !strings.Contains(err.Error(), "destinations password") {
		t.Fatalf("a missing password gave %v", err)
	}
	where, err := s.set(ctx, u, "hunter2")
	if err != nil || !strings.Contains(string(where), "not encrypted") {
		t.Fatalf("kept in %q, %v", where, err)
	}
	if info, err := os.Stat(s.file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	if got, err := s.get(ctx, u); got != "hunter2" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := s.remove(ctx, u); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(s.file); strings.Contains(string(text), "hunter2") {
		t.Fatal("the password is still in the file")
	}
}

func TestSecretsInKeyring(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/never/used")
	keyring.MockInit()
	s := secrets{file: filepath.Join(t.TempDir(), "credentials.json")}
	u, ctx := parseURL(t, "sftp://ann@host/d"), context.Background()
	where, err := s.set(ctx, u, "hunter2")
	if err != nil || where != inKeyring {
		t.Fatalf("kept in %q, %v", where, err)
	}
	if _, err := os.Stat(s.file); err == nil {
		t.Fatal("the password is in a file as well")
	}
	if got, err := s.get(ctx, u); got != "hunter2" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestSecretsRefuseAnOpenFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // files of a profile are private by their ACL
	}
	t.Setenv("BERTH_KEYRING", "off")
	s := secrets{file: filepath.Join(t.TempDir(), "credentials.json")}
	if err := os.WriteFile(s.file, []byte(`{"sftp://ann@host":"hunter2"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := s.get(context.Background(), parseURL(t, "sftp://ann@host/d"))
	if err == nil || !strings.Contains(err.Error(), "chmod 600") || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("got %v", err)
	}
}
