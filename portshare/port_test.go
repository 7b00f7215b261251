package portshare

import (
	"strings"
	"testing"
)

// TestConfiguredPorts: the environment of the session says where to scan; the
// caller's own option says it better.
func TestConfiguredPorts(t *testing.T) {
	s := here(t)
	t.Setenv("BERTH_PORTS", "41200-41999")
	r, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	if port := info(t, r).Port; port < 41200 || port > 41999 {
		t.Errorf("port %d is not in the range", port)
	}
	own, err := Join(s, "other", Ports(42000, 42999))
	if err != nil {
		t.Fatal(err)
	}
	if port := info(t, own).Port; port < 42000 || port > 42999 {
		t.Errorf("port %d is not in the caller's range", port)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"x", "1000", "-", "1000-", "2000-1000", "0-10", "1-65536", "1-2-3", "1- 2"} {
		t.Setenv("BERTH_PORTS", bad)
		if r, err := Join(s, "test"); err == nil {
			t.Errorf("%q: port %d", bad, info(t, r).Port)
			r.Close()
		} else if !strings.Contains(err.Error(), "FIRST-LAST") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
