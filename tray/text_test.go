package tray

import (
	"math"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"berth/control"
)

func TestJobText(t *testing.T) {
	long := strings.Repeat("chapter ", 9) + "12.pdf"
	for _, c := range []struct {
		job  control.Job
		want string
	}{
		{control.Job{Name: "a.zip", State: "uploading", BytesDone: 43, BytesTotal: 100, Rate: 4.5 * 1024 * 1024}, "a.zip  —  uploading, 43 %, 4.5 MiB/s"},
		{control.Job{Name: "a.zip", State: "uploading", BytesDone: 999_999, BytesTotal: 1_000_000}, "a.zip  —  uploading, 99 %"},
		{control.Job{Name: "a.zip", State: "queued"}, "a.zip  —  waiting, 0 %"},
		{control.Job{Name: "a.zip", State: "queued", Error: "the server is down", BytesDone: 1, BytesTotal: 2}, "a.zip  —  waiting to try again, 50 %"},
		{control.Job{Name: "a.zip", State: "paused", BytesDone: 1, BytesTotal: 3}, "a.zip  —  paused at 33 %"},
		{control.Job{Name: "a.zip", State: "verifying", BytesDone: 3, BytesTotal: 3}, "a.zip  —  checking"},
		{control.Job{Name: "a.zip", State: "done", BytesDone: 1 << 30, BytesTotal: 1 << 30}, "a.zip  —  done, 1.0 GiB"},
		{control.Job{Name: "a.zip", State: "failed", Error: "the disk is full\nfree some"}, "a.zip  —  failed: the disk is full"},
		{control.Job{Name: "a.zip", State: "failed"}, "a.zip  —  failed: no reason given"},
		{control.Job{Name: "a.zip", State: "canceled"}, "a.zip  —  canceled"},
		{control.Job{Name: "a.zip", State: "from\nlater"}, "a.zip  —  from later"},
		{control.Job{Name: "ü\t\n_&.zip\u202egpj.exe", State: "verifying"}, "ü _&.zipgpj.exe  —  checking"},
		{control.Job{Name: long, State: "verifying"}, "chapter chapter chapter ch…hapter 12.pdf  —  checking"},
	} {
		if got := jobText(c.job); got != c.want {
			t.Errorf("%+v:\n got %q\nwant %q", c.job, got, c.want)
		}
	}
}

func TestSizeAndPercent(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "0 B", 0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1_048_575: "1024.0 KiB", 1_048_576: "1.0 MiB",
		5 << 30: "5.0 GiB", math.MaxInt64: "8.0 EiB",
	} {
		if got := sizeText(n); got != want {
			t.Errorf("sizeText(%d) = %q, want %q", n, got, want)
		}
	}
	for _, c := range []struct {
		done, total int64
		want        string
	}{{0, 0, "0 %"}, {5, 0, "0 %"}, {-1, 10, "0 %"}, {1 << 62, 1<<62 + 1, "99 %"}, {10, 10, "100 %"}, {11, 10, "100 %"}} {
		if got := percent(c.done, c.total); got != c.want {
			t.Errorf("percent(%d, %d) = %q, want %q", c.done, c.total, got, c.want)
		}
	}
	for _, r := range []float64{math.NaN(), math.Inf(1), -3, 0} {
		if got := rateText(r); got != "" {
			t.Errorf("rateText(%v) = %q", r, got)
		}
	}
}

// FuzzClean holds that no name, whatever a companion sends, makes a row of more
// than one line, an invalid string, or one that is too long.
func FuzzClean(f *testing.F) {
	f.Add("report.pdf")
	f.Add("a\x00b\r\n\u2028\u202e\ufeff\xff\U000e0001")
	f.Add(strings.Repeat("e\u0301", 80))
	f.Fuzz(func(t *testing.T, s string) { checkClean(t, s) })
}

func checkClean(t testing.TB, s string) {
	got := shorten(clean(s), nameRunes)
	if n := utf8.RuneCountInString(got); n > nameRunes {
		t.Errorf("%d runes", n)
	}
	for _, r := range got {
		if r != ' ' && (unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			t.Errorf("%q holds %U", got, r)
		}
	}
	if !utf8.ValidString(got) {
		t.Errorf("%q is not UTF-8", got)
	}
}
