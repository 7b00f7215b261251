package ipc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClip(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{
		{"", 0, ""},
		{"berth", 5, "berth"},
		{"berth", 4, "bert"},
		{"berth", 0, ""},
		{"größe", 3, "gr"},
		{"größe", 4, "grö"},
		{"a€", 2, "a"},
		{"a€", 3, "a"},
		{"a€", 4, "a€"},
		{"a😀b", 4, "a"},
		{"a😀b", 5, "a😀"},
		{"€", 1, ""},
		{"\x80\x80\x80\x80\x80\x80", 5, "\x80\x80\x80\x80\x80"},
	} {
		if got := clip(c.s, c.n); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.s, c.n, got, c.want)
		}
	}
}

// TestAReasonIsCutBetweenCharacters: the record has room for 112 bytes.
func TestAReasonIsCutBetweenCharacters(t *testing.T) {
	_, companion := heapPair(t, 8, testHost{func(_ context.Context, s *Session) {
		_ = s.Fail("x" + strings.Repeat("ß", maxInline/2))
	}}, testHost{})
	ctx := testContext(t)
	s, err := companion.openSession(ctx, opening{address: "controller/x"}, Controller, "x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Recv(ctx)
	if !errors.Is(err, ErrRefused) || !utf8.ValidString(err.Error()) || strings.Count(err.Error(), "ß") != maxInline/2-1 {
		t.Errorf("%q", err)
	}
}
