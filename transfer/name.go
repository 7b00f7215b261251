package transfer

import (
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the longest name in bytes that every file system we deliver to
// takes, less the room that temporary suffixes need (255 - len(".part") and some).
const maxName = 240

// SafeName makes one path element of a name that came from outside: valid
// UTF-8 of at most 240 bytes without separators, control characters, characters
// that Windows refuses, leading or trailing spaces, trailing dots and device
// names (CON, NUL, COM1…). An alternate data stream ("a.txt:evil") becomes part
// of the name. What cannot be kept turns into "_". It is idempotent and never
// answers "", "." or "..".
func SafeName(name string) string {
	if most := 4 << 10; len(name) > most { // whatever is longer loses its middle anyway
		name = name[:most-64] + name[len(name)-64:]
	}
	name = strings.Map(safeRune, strings.ToValidUTF8(name, "_"))
	name = trimName(shorten(trimName(name)))
	if isDevice(name) { // which the cut may have made of something harmless
		name = trimName(shorten("_" + name))
	}
	if name == "" {
		return "_"
	}
	return name
}

// safeRune replaces what some system treats as syntax. Format characters (such
// as right-to-left overrides, which make "gpj.exe" look like "exe.jpg") go too.
func safeRune(r rune) rune {
	switch {
	case strings.ContainsRune(`/\:*?"<>|`, r), unicode.IsControl(r), r == utf8.RuneError:
		return '_'
	case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
		return '_'
	}
	return r
}

// trimName drops what Windows would drop silently, which would make two names
// one: trailing dots and spaces. Leading spaces only confuse people.
func trimName(name string) string {
	return strings.TrimRightFunc(strings.TrimLeftFunc(name, unicode.IsSpace), func(r rune) bool {
		return r == '.' || unicode.IsSpace(r)
	})
}

// shorten cuts a name to maxName bytes, at a rune, keeping a short extension.
func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > 32 {
		ext = ""
	}
	return cut(strings.TrimSuffix(name, ext), maxName-len(ext)) + ext
}

func cut(s string, n int) string {
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:min(n, len(s))]
}

// isDevice reports the reserved names of Windows, which are reserved with any
// extension and in any case.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	port, isCOM := strings.CutPrefix(stem, "COM")
	if !isCOM {
		var isLPT bool
		if port, isLPT = strings.CutPrefix(stem, "LPT"); !isLPT {
			return false
		}
	}
	return utf8.RuneCountInString(port) == 1 && strings.ContainsAny(port, "0123456789¹²³")
}

// unique answers name, or name with " (2)", " (3)" … before its extension, such
// that taken (keyed by lower case) does not hold it.
func unique(name string, taken map[string]bool) string {
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for n := 2; taken[strings.ToLower(name)]; n++ {
		suffix := " (" + strconv.Itoa(n) + ")" + ext
		name = cut(stem, maxName-len(suffix)) + suffix
	}
	return name
}
