package tray

import (
	"fmt"
	"math"
	"strings"
	"unicode"

	"berth/control"
)

// Menu texts are cut to these many runes: menus of some desktops grow as wide
// as their longest row.
const (
	nameRunes   = 40
	reasonRunes = 60
)

// jobText is the row of a job: its name and where it stands.
func jobText(j control.Job) string {
	return shorten(clean(j.Name), nameRunes) + "  —  " + stateText(j)
}

// stateText says in words where a job stands.
func stateText(j control.Job) string {
	switch j.State {
	case stateQueued:
		if j.Error != "" {
			return "waiting to try again, " + percent(j.BytesDone, j.BytesTotal)
		}
		return "waiting, " + percent(j.BytesDone, j.BytesTotal)
	case stateUploading:
		return "uploading, " + percent(j.BytesDone, j.BytesTotal) + rateText(j.Rate)
	case statePaused:
		return "paused at " + percent(j.BytesDone, j.BytesTotal)
	case stateVerifying:
		return "checking"
	case stateDone:
		return "done, " + sizeText(j.BytesTotal)
	case stateFailed:
		return "failed: " + shorten(clean(firstLine(j.Error)), reasonRunes)
	case stateCanceled:
		return "canceled"
	}
	return clean(j.State)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	if line == "" {
		return "no reason given"
	}
	return line
}

func rateText(bytesPerSecond float64) string {
	if !(bytesPerSecond >= 1) || math.IsInf(bytesPerSecond, 0) {
		return ""
	}
	return ", " + sizeText(int64(min(bytesPerSecond, math.MaxInt64/2))) + "/s"
}

// percent is rounded down: 100 % is said only when every byte is there.
func percent(done, total int64) string {
	if total <= 0 {
		return "0 %"
	}
	p := math.Floor(100 * float64(done) / float64(total))
	if done < total {
		p = min(p, 99)
	}
	return fmt.Sprintf("%.0f %%", max(0, min(p, 100)))
}

// sizeText gives a size with binary prefixes, as the command line and the
// monitor page do.
func sizeText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", max(n, 0))
	}
	v, prefixes := float64(n)/unit, "KMGTPE"
	for v >= unit && len(prefixes) > 1 {
		v, prefixes = v/unit, prefixes[1:]
	}
	return fmt.Sprintf("%.1f %ciB", v, prefixes[0])
}

// clean makes a foreign text fit for one line of a menu. File names may hold
// line breaks, tabs (which some menus read as a column of shortcuts) and
// characters that turn the reading direction and so can make one name look
// like another.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return ' '
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.Join(strings.Fields(s), " ")
}

// shorten cuts the middle out of a text longer than limit runes, so that the
// end of a file name, which tells files of one series apart, stays.
func shorten(s string, limit int) string {
	r := []rune(s)
	if len(r) <= limit {
		return s
	}
	tail := limit / 3
	head := limit - 1 - tail
	from := len(r) - tail
	for from < len(r) && unicode.Is(unicode.M, r[from]) {
		from++ // a combining mark without its letter would join the ellipsis
	}
	return strings.TrimRight(string(r[:head]), " ") + "…" + strings.TrimLeft(string(r[from:]), " ")
}
