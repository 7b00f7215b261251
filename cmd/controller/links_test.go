package main

import (
	"strings"
	"testing"

	"berth/control"
)

func TestHTMLLinksEscape(t *testing.T) {
	got := htmlLinks(control.Job{Items: []control.Item{
		{Name: `<script>"x"&ü.zip`, Link: `https://h/a"onclick="b&c`, Size: 2048},
		{Name: "no link"},
	}})
	for _, bad := range []string{"<script>", `"onclick="`, "&c\""} {
		if strings.Contains(got, bad) {
			t.Errorf("%q stands unescaped in\n%s", bad, got)
		}
	}
	for _, want := range []string{"&lt;script&gt;", "ü.zip", "2.0 KiB", "<li>no link (0 B)</li>"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}
