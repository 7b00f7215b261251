package transfer

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// downServer can't be reached until a moment.
type downServer struct {
	dirServer
	until time.Time
	tried *[]time.Time
}

func (d downServer) Begin(ctx context.Context, o Object) (Handle, error) {
	*d.tried = append(*d.tried, time.Now())
	if time.Now().Before(d.until) {
		return "", errors.New("connection refused")
	}
	return d.dirServer.Begin(ctx, o)
}

// TestBackOffOverDays has a server down for a day, on a clock that jumps while all
// wait: attempts grow rarer, up to one in 5 minutes ± 50 %, none comes early, and the
// first one after it is up again delivers.
func TestBackOffOverDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tried []time.Time
		start := time.Now()
		const down = 24 * time.Hour
		srv := downServer{dirServer{t.TempDir(), nil}, start.Add(down), &tried}
		q, err := Open(t.Context(), Config{Dir: t.TempDir(), Backend: func(string) (Backend, error) { return srv, nil }})
		if err != nil {
			t.Fatal(err)
		}
		src := t.TempDir() + "/file"
		if err := os.WriteFile(src, crashData(0), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := q.NewPackage("days", "d")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.AddFile(t.Context(), src, ""); err != nil {
			t.Fatal(err)
		}
		j, err := p.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := waitFor(q, j.ID, func(j Job) bool { return j.State == Done }); err != nil {
			t.Fatal(err)
		}
		if late := time.Since(start) - down; late < 0 || late > 8*time.Minute {
			t.Errorf("delivered %v after the server was up", late)
		}
		checkGaps(t, tried)
		if err := q.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func checkGaps(t *testing.T, tried []time.Time) {
	t.Helper()
	for i := 1; i < len(tried); i++ {
		mean := min(time.Second<<min(i-1, 20), 5*time.Minute)
		if gap := tried[i].Sub(tried[i-1]); gap < mean/2 || gap > mean*3/2+time.Second {
			t.Errorf("attempt %d came %v after the one before, want %v ± 50 %%", i+1, gap, mean)
		}
	}
	if n := len(tried); n < 200 || n > 600 {
		t.Errorf("%d attempts in a day", n)
	}
}
