package transfer

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSafeName(t *testing.T) {
	long := strings.Repeat("x", 300)
	for in, want := range map[string]string{
		"report.pdf":                           "report.pdf",
		"größe & maß (1).txt":                  "größe & maß (1).txt",
		"../../etc/passwd":                     ".._.._etc_passwd",
		`..\evil.exe`:                          ".._evil.exe",
		"/abs":                                 "_abs",
		"..":                                   "_",
		".":                                    "_",
		"":                                     "_",
		"...":                                  "_",
		"a.txt:evil.exe":                       "a.txt_evil.exe",
		"a\x00b":                               "a_b",
		"a\nb":                                 "a_b",
		"trailing. . ":                         "trailing",
		" leading":                             "leading",
		"CON":                                  "_CON",
		"con.txt":                              "_con.txt",
		"NUL .txt":                             "_NUL .txt",
		"COM1":                                 "_COM1",
		"lpt9.log":                             "_lpt9.log",
		"COM¹":                                 "_COM¹",
		"COM10":                                "COM10",
		"COMMON":                               "COMMON",
		"CONIN$":                               "_CONIN$",
		"a\xffb":                               "a_b",
		"txt.\u202egpj.exe":                    "txt._gpj.exe",
		"?*<>|\"":                              "______",
		".hidden":                              ".hidden",
		strings.Repeat("ä", 10<<20):            strings.Repeat("ä", 120),
		long + ".tar":                          long[:236] + ".tar",
		"NUL." + long:                          "_NUL." + long[:235],
		"PRN" + strings.Repeat(" ", 300) + "x": "_PRN",
	} {
		if got := SafeName(in); got != want {
			t.Errorf("SafeName(%.40q) = %.60q, want %.60q", in, got, want)
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"a", "../x", "CON.", "nul . .", "a:b", "\xff\xfe", strings.Repeat("é.", 200), " . ", "CON." + strings.Repeat("ä. ", 99)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) { checkSafeName(t, in) })
}

func checkSafeName(t testing.TB, in string) {
	name := SafeName(in)
	switch {
	case name == "" || name == "." || name == "..":
		t.Fatalf("%q became %q", in, name)
	case len(name) > maxName || !utf8.ValidString(name):
		t.Fatalf("%q became %d bytes, valid %v", in, len(name), utf8.ValidString(name))
	case strings.ContainsAny(name, "/\\:\x00\r\n"):
		t.Fatalf("%q became %q", in, name)
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") || isDevice(name):
		t.Fatalf("%q became %q", in, name)
	case SafeName(name) != name:
		t.Fatalf("%q became %q, then %q", in, name, SafeName(name))
	}
}

func TestUnique(t *testing.T) {
	taken := map[string]bool{}
	for _, want := range []string{"a.txt", "A (2).txt", "a (3).txt"} {
		name := map[bool]string{true: "A.txt", false: "a.txt"}[want[0] == 'A']
		got := unique(name, taken)
		if got != want {
			t.Errorf("unique = %q, want %q", got, want)
		}
		taken[strings.ToLower(got)] = true
	}
}
