package portshare

import (
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"berth/session"
)

// TestTortureStarts starts controllers and companions all at once, kills some of
// them on the way, then the controller, then everybody, and wants the same after each
// step: one controller, one port. BERTH_TORTURE=1 runs it at full count, BERTH_SEED=n
// repeats a run's choices.
func TestTortureStarts(t *testing.T) {
	rounds, crowd := 3, 24
	if os.Getenv("BERTH_TORTURE") != "" {
		rounds, crowd = 20, 100
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("BERTH_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("BERTH_SEED=%d: %d rounds of %d processes", seed, rounds, crowd)
	s := here(t)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		ok := t.Run(strconv.Itoa(round), func(t *testing.T) { tortureRound(t, s, crowd, random) })
		if !ok {
			return
		}
	}
}

func tortureRound(t *testing.T, s session.Session, crowd int, random *rand.Rand) {
	all := []*child{start(t, "companion")} // one who lives through it all
	defer func() { endServers(t, s, all) }()
	roles := []string{"controller", "controller", "companion", "companion", "companion", "ensurer"}
	for range crowd - 1 {
		all = append(all, start(t, roles[random.IntN(len(roles))]))
		if victim := all[random.IntN(len(all))]; mayDie(victim) && victim != all[0] && random.IntN(8) == 0 {
			victim.kill()
		}
	}
	alive := survivors(t, all)
	listening := oneController(t, s, &all, alive)
	for range 2 {
		killPID(listening.PID)
		if !awaitDeath(t.Context(), listening.holder()) {
			t.Fatal("a killed controller never ended")
		}
		alive = slices.DeleteFunc(alive, func(c *child) bool { return c.cmd.Process.Pid == listening.PID })
		reserved := agree(t, s, alive)
		// A controller that was on its way may have stepped in already.
		if reserved.State != Listening && reserved != listening.released() {
			t.Fatalf("after the death of the controller: %v, before: %v", reserved, listening)
		}
		next := oneController(t, s, &all, alive)
		if next.Port != listening.Port || next.Generation <= listening.Generation {
			t.Fatalf("the next controller: %v, before: %v", next, listening)
		}
		listening = next
	}
}

// mayDie spares, under wine, those who start processes: one whose parent is killed in
// the middle of CreateProcess stays there half born for good, with one thread that
// waits for wine's server, and keeps our pipe open. None of our code runs in it.
func mayDie(c *child) bool { return runtime.GOOS != "windows" || c.role != "ensurer" }

// survivors hears all children that were not killed, and answers those that stay:
// at most one controller among them.
func survivors(t *testing.T, all []*child) []*child {
	t.Helper()
	started := slices.DeleteFunc(slices.Clone(all), func(c *child) bool { return c.killed })
	said := together(t, started, (*child).hear)
	var alive []*child
	controllers := 0
	for i, c := range started {
		if said[i] == "refused" {
			continue
		}
		alive = append(alive, c)
		if c.role == "controller" {
			controllers++
		}
	}
	if controllers > 1 {
		t.Fatalf("%d controllers at a time: %q", controllers, said)
	}
	return alive
}

// oneController sees to it that a controller listens, and that everybody agrees.
func oneController(t *testing.T, s session.Session, all *[]*child, alive []*child) Info {
	t.Helper()
	for range 100 {
		if got := agree(t, s, alive); got.State == Listening {
			return got
		}
		c := start(t, "controller")
		*all = append(*all, c)
		c.line(t) // listening, or refused because another was on its way
	}
	t.Fatal("no controller stays")
	return Info{}
}
