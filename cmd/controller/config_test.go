package main

import (
	"errors"
	"testing"

	"berth/transfer"
)

func TestAddressAndDirectory(t *testing.T) {
	for _, c := range []struct{ url, addr, dir string }{
		{"sftp://ann@host/drop/in", "host:22", "/drop/in"},
		{"sftp://ann@host:2222", "host:2222", ""},
		{"sftp://ann@host/", "host:22", ""},
		{"sftp://ann@host/~", "host:22", ""},
		{"sftp://ann@host/~/drop/in/", "host:22", "drop/in/"},
		{"sftp://ann@[::1]/a%20b", "[::1]:22", "/a b"},
		{"ftp://ann@host:22/drop/in", "host:22", "drop/in"},
		{"ftp://ann@host:22//srv/drop", "host:22", "/srv/drop"},
		{"ftp://ann@host:22/", "host:22", ""},
	} {
		u, err := destination{URL: c.url}.parse()
		if err != nil {
			t.Fatal(err)
		}
		if got := address(u, "22"); got != c.addr {
			t.Errorf("%s: address %q, want %q", c.url, got, c.addr)
		}
		if got := directory(u); got != c.dir {
			t.Errorf("%s: directory %q, want %q", c.url, got, c.dir)
		}
	}
}

// A secret belongs to a host and a user: it must not follow a changed URL.
func TestSecretIDNamesHostAndUser(t *testing.T) {
	seen := map[string]string{}
	for _, url := range []string{
		"sftp://ann@host/a", "sftp://bob@host/a", "sftp://ann@other/a", "sftp://ann@host:2222/a", "ftp://ann@host/a",
	} {
		u, err := destination{URL: url}.parse()
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[secretID(u)]; taken {
			t.Errorf("%s and %s share a secret", url, other)
		}
		seen[secretID(u)] = url
	}
}

// TestPermanently: the class of an error is for programs, not for people.
func TestPermanently(t *testing.T) {
	cause := errors.New("no destination is called x")
	err := permanently(cause)
	if err.Error() != cause.Error() || !errors.Is(err, transfer.ErrPermanent) || !errors.Is(err, cause) {
		t.Errorf("%q", err)
	}
}
