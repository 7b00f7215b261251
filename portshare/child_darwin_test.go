package portshare

// intruder has no counterpart: see docs/needs-real-systems.md.
func intruder() {}
