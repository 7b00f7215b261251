package control_test

import (
	"errors"
	"reflect"
	"testing"

	"berth/control"
)

// TestFilter: what a client asks for arrives; what makes no sense is refused.
func TestFilter(t *testing.T) {
	f := &fake{}
	c := client(t, start(t, f, ""))
	if _, err := c.List(t.Context(), control.Filter{IDs: []string{"a", "b&c"}, States: []string{"done", "failed"}, Before: "x y", Limit: 7}); err != nil {
		t.Fatal(err)
	}
	want := []string{"list", "of {[a b&c] [done failed] x y 7}"}
	if got := f.asked(); !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	var e *control.Error
	if _, err := c.List(t.Context(), control.Filter{Limit: -1}); !errors.As(err, &e) || e.Code != control.CodeUsage {
		t.Errorf("a negative limit: %v", err)
	}
	if n := len(f.asked()); n != len(want) {
		t.Errorf("the service was asked %d times", n)
	}
}
