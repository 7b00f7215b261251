package portshare

import (
	"errors"
	"strings"
	"testing"
)

func TestRank(t *testing.T) {
	broken := errors.New("access denied")
	for _, c := range []struct {
		name   string
		higher bool
		err    error
		refuse bool
	}{
		{"equal", false, nil, false},
		{"higher", true, nil, true},
		{"unknown", false, broken, true},
	} {
		err := refuseRank(7, func(int) (bool, error) { return c.higher, c.err })
		if errors.Is(err, ErrElevated) != c.refuse || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.refuse && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v is no refusal", c.name, err)
		}
		if c.refuse && !strings.Contains(err.Error(), "pid 7") {
			t.Errorf("%s: %v does not name the controller", c.name, err)
		}
	}
}
