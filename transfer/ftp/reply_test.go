package ftp

import (
	"bufio"
	"errors"
	"strings"
	"testing"
	"unicode"

	"berth/transfer"
)

func read(s string) (reply, error) {
	return readReply(bufio.NewReaderSize(strings.NewReader(s), maxLine))
}

func TestReadReply(t *testing.T) {
	for _, c := range []struct {
		in   string
		code int
		text string
	}{
		{"220 ready\r\n", 220, "ready"},
		{"220\r\n", 220, ""},
		{"226 ok\n", 226, "ok"},
		{"211-Features:\r\n UTF8\r\n SIZE\r\n211 End\r\n", 211, "Features:  UTF8  SIZE End"},
		{"230-Hi\r\n230-there\r\n 230 no end\r\n2300 nor this\r\n230 end\r\n", 230, "Hi there  230 no end 2300 nor this end"},
		{"250-a\r\n226 other code\r\n250 b\r\n", 250, "a 226 other code b"},
	} {
		a, err := read(c.in)
		if err != nil || a.code != c.code || a.text() != c.text {
			t.Errorf("%q: %d %q, %v", c.in, a.code, a.text(), err)
		}
	}
	for _, in := range []string{
		"", "22", "220", "220 no end", "hello\r\n", "220x\r\n", "000 zero\r\n", "999 much\r\n", "-12 minus\r\n", "+12 plus\r\n",
		"220-never\r\nending\r\n", "220 " + strings.Repeat("x", maxLine) + "\r\n", "220-\r\n" + strings.Repeat("x\r\n", maxLines) + "220 \r\n",
	} {
		if a, err := read(in); err == nil {
			t.Errorf("%.40q was read as %d %.40q", in, a.code, a.text())
		}
	}
}

func TestClasses(t *testing.T) {
	for _, c := range []struct {
		code  int
		text  string
		class error
	}{
		{530, "Login incorrect.", transfer.ErrUnauthorized}, {550, "Permission denied.", transfer.ErrPermanent},
		{553, "Could not create file.", transfer.ErrPermanent}, {552, "Quota exceeded", transfer.ErrPermanent},
		{425, "Can't open data connection", nil}, {426, "Failure reading network stream", nil}, {452, "disk full", nil},
		{421, "Too many connections", nil}, {500, "OOPS: vsf_sysutil_bind", nil}, {500, "Unknown command", transfer.ErrPermanent},
	} {
		err := error(&replyError{"try", reply{c.code, []string{c.text}}})
		for _, class := range []error{transfer.ErrUnauthorized, transfer.ErrPermanent, transfer.ErrGone, transfer.ErrExists} {
			if errors.Is(err, class) != (c.class != nil && errors.Is(c.class, class)) {
				t.Errorf("%d %s: is %v: %v", c.code, c.text, class, errors.Is(err, class))
			}
		}
	}
}

func TestPorts(t *testing.T) {
	for in, want := range map[string]int{
		"Entering Extended Passive Mode (|||6446|)": 6446, "ok (!!!1!)": 1, "(|1|10.0.0.1|65535|)": 65535,
		"(|||0|)": 0, "(|||65536|)": 0, "(||6446|)": 0, "(|||6446)": 0, "|||6446|": 0, "(|||-1|)": 0, "(|||6446|": 0, "()": 0, "": 0,
	} {
		if got, _ := parseEPSV(in); got != want {
			t.Errorf("EPSV %q: %d, want %d", in, got, want)
		}
	}
	for in, want := range map[string]int{
		"Entering Passive Mode (10,0,0,1,25,46)": 25<<8 | 46, "Entering Passive Mode 127,0,0,1,0,21.": 21, "=1, 2, 3, 4, 255, 255": 65535,
		"(1,2,3,4,256,1)": 0, "(1,2,3,4,1)": 0, "(1,2,3,4,0,0)": 0, "": 0, "no": 0, "(1,2,3,4,5,6,7)": 0, "(1,2,3,4,-1,1)": 0,
	} {
		if got, _ := parsePASV(in); got != want {
			t.Errorf("PASV %q: %d, want %d", in, got, want)
		}
	}
}

func TestPWD(t *testing.T) {
	for in, want := range map[string]string{
		`"/" is the current directory`: "/", `"/home/me"`: "/home/me", `"/a ""b"" c" ok`: `/a "b" c`, `cwd is "/x"`: "/x",
		`/home/me`: "", `"relative"`: "", `"/open`: "", `""`: "", ``: "", "\"/a\rb\"": "",
	} {
		if got, _ := parsePWD(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestHash(t *testing.T) {
	sum := strings.Repeat("0123456789abcdef", 4)
	for _, in := range [][]string{{"SHA-256 0-4 " + sum + " a.txt"}, {strings.ToUpper(sum)}, {"Computing", sum, "done"}} {
		got, err := parseHash(in)
		if err != nil || got[1] != 0x23 {
			t.Errorf("%q: %x, %v", in, got, err)
		}
	}
	for _, in := range [][]string{{""}, {sum[:62]}, {sum + " " + sum}, {sum + "00"}, {"zz" + sum[2:]}} {
		if _, err := parseHash(in); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"220 ready\r\n", "211-F\r\n A\r\n211 E\r\n", "227 (1,2,3,4,5,6)\r\n", "229 (|||5|)\r\n", "257 \"/a\"\"b\" x\r\n", "213 42\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkReply(t, s) })
}

func checkReply(t testing.TB, s string) {
	a, err := read(s)
	if err != nil {
		return
	}
	if a.code < 100 || a.code > 599 || len(a.lines) > maxLines+1 || len(a.text()) > len(s) {
		t.Fatalf("%q became %d with %d lines", s, a.code, len(a.lines))
	}
	for _, port := range []func(string) (int, error){parseEPSV, parsePASV} {
		if p, err := port(a.text()); err == nil && (p < 1 || p > 65535) {
			t.Fatalf("port %d from %q", p, s)
		}
	}
	if n, err := parseSize(a.text()); err == nil && n < 0 {
		t.Fatalf("size %d from %q", n, s)
	}
	if d, err := parsePWD(a.text()); err == nil && (d[0] != '/' || strings.ContainsAny(d, "\r\n\x00")) {
		t.Fatalf("directory %q from %q", d, s)
	}
	if p := printable(a.text()); strings.ContainsFunc(p, func(r rune) bool { return r < ' ' && unicode.IsControl(r) }) {
		t.Fatalf("%q is printed as %q", s, p)
	}
	_, _ = parseHash(a.lines)
}
