package ftp_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"berth/transfer"
	"berth/transfer/ftp"
	"berth/transfer/transfertest"
)

// script is a server that answers by the command's first word; what it doesn't
// know it refuses.
func script(t *testing.T, answers map[string]string) (addr string, heard func() []string) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var lines []string
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	serve := func(c net.Conn) {
		defer c.Close()
		_, _ = c.Write([]byte("220 hi\r\n"))
		in := bufio.NewScanner(c)
		for in.Scan() {
			mu.Lock()
			lines = append(lines, in.Text())
			mu.Unlock()
			word, _, _ := strings.Cut(in.Text(), " ")
			a, ok := answers[word]
			if !ok {
				a = "502 not here"
			}
			if _, err := c.Write([]byte(a + "\r\n")); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	return l.Addr().String(), func() []string { mu.Lock(); defer mu.Unlock(); return append([]string(nil), lines...) }
}

func polite() map[string]string {
	return map[string]string{
		"USER": "331 who?", "PASS": "230 in", "TYPE": "200 ok", "PWD": `257 "/"`, "MKD": "257 made", "CWD": "250 ok", "SIZE": "550 none",
	}
}

// TestDataGoesToTheControlHost: a server that names another address for data
// doesn't get us to connect there.
func TestDataGoesToTheControlHost(t *testing.T) {
	answers := polite()
	answers["EPSV"] = "500 what?"
	answers["PASV"] = "227 Entering Passive Mode (192,0,2,1,200,10)"
	addr, _ := script(t, answers)
	var mu sync.Mutex
	var dialled []string
	b := open(t, ftp.Config{Addr: addr, Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
		mu.Lock()
		dialled = append(dialled, to)
		mu.Unlock()
		if to != addr {
			return nil, errors.New("stop here")
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}})
	o, content := transfertest.NewObject("a.txt", 10)
	h, err := b.Begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	u, err := b.Open(t.Context(), o, h, 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(content); err == nil {
		t.Fatal("wrote to nobody")
	}
	if want := "127.0.0.1:51210"; len(dialled) != 2 || dialled[1] != want {
		t.Fatalf("dialled %q, want %s at last", dialled, want)
	}
}

// TestHostileAnswers: none of these may hang, panic or pass for success.
func TestHostileAnswers(t *testing.T) {
	for name, change := range map[string][2]string{
		"no ftp":          {"USER", "HTTP/1.1 400 Bad Request"},
		"endless line":    {"PWD", "257 " + strings.Repeat("x", 64<<10)},
		"endless answer":  {"PWD", "257-\r\n" + strings.Repeat("x\r\n", 5000) + "257 \"/\""},
		"no directory":    {"PWD", "257 somewhere"},
		"password please": {"PASS", "332 ACCT"},
		"refused":         {"PASS", "530 no"},
		"hangs up":        {"PASS", "421 bye"},
		"negative size":   {"SIZE", "213 -5"},
		"no size":         {"SIZE", "213 lots"},
	} {
		t.Run(name, func(t *testing.T) {
			answers := polite()
			answers[change[0]] = change[1]
			addr, _ := script(t, answers)
			b := open(t, ftp.Config{Addr: addr, Path: "{name}", Password: func(context.Context) (string, error) { return transfertest.WrongPassword, nil }})
			o, _ := transfertest.NewObject("a.txt", 10)
			_, err := b.Begin(t.Context(), o)
			if err == nil {
				t.Fatal("Begin was content")
			}
			if strings.Contains(err.Error(), transfertest.WrongPassword) || len(err.Error()) > 1000 {
				t.Errorf("the error says too much: %.2000s", err)
			}
			if name == "refused" != errors.Is(err, transfer.ErrUnauthorized) && name != "password please" {
				t.Errorf("class of %v", err)
			}
		})
	}
}

// TestShortFile: a server that ends early and calls it done is found out.
func TestShortFile(t *testing.T) {
	data, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	go func() {
		c, err := data.Accept()
		if err == nil {
			buf := make([]byte, 4)
			_, _ = c.Read(buf)
			_, _ = c.Read(make([]byte, 64))
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(data.Addr().String())
	answers := polite()
	answers["EPSV"] = "229 ok (|||" + port + "|)"
	answers["STOR"] = "150 go\r\n226 done"
	answers["SIZE"] = "213 4"
	addr, _ := script(t, answers)
	b := open(t, ftp.Config{Addr: addr})
	o, content := transfertest.NewObject("a.txt", 10)
	h, err := b.Begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	u, err := b.Open(t.Context(), o, h, 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err == nil {
		t.Fatal("4 of 10 bytes arrived and Close was content")
	}
}

// TestNoDirectory: a destination that doesn't exist is said plainly, once.
func TestNoDirectory(t *testing.T) {
	answers := polite()
	answers["MKD"], answers["CWD"] = "550 no such directory", "550 no such directory"
	addr, heard := script(t, answers)
	b := open(t, ftp.Config{Addr: addr, Dir: "missing"})
	o, _ := transfertest.NewObject("a.txt", 10)
	if _, err := b.Begin(t.Context(), o); !errors.Is(err, transfer.ErrPermanent) || !strings.Contains(err.Error(), "missing") {
		t.Fatalf("Begin: %v", err)
	}
	if err := b.Probe(t.Context()); !errors.Is(err, transfer.ErrPermanent) || !strings.Contains(err.Error(), "/missing") {
		t.Fatalf("Probe: %v", err)
	}
	for _, l := range heard() {
		if strings.HasPrefix(l, "MKD /missing ") || l == "MKD /missing" {
			t.Errorf("made the configured directory: %s", l)
		}
	}
}

// TestLineEnds: a user name can't smuggle a command in.
func TestLineEnds(t *testing.T) {
	addr, heard := script(t, polite())
	b := open(t, ftp.Config{Addr: addr, User: "me\r\nDELE precious"})
	if err := b.Probe(t.Context()); !errors.Is(err, transfer.ErrPermanent) {
		t.Errorf("Probe: %v", err)
	}
	if h := heard(); len(h) != 0 {
		t.Errorf("the server heard %q", h)
	}
}
