package ipc

import "errors"

// ErrNoSeclusion means that the system has nothing that keeps programs of one user apart.
var ErrNoSeclusion = errors.New("this system can't keep other programs of the user out of a process")

// Seclude keeps other programs of the same user out of this process: they can't
// open its shared memory through /proc, read its memory, or attach a debugger. Call
// it first thing in a program that hosts an engine; a companion may call it as well.
// It does not keep root out, and it ends with an exec.
//
// On Linux it is PR_SET_DUMPABLE=0, which has a price: no core dumps, no debugger or
// profiler from outside (pprof over a connection still works), and most of
// /proc/PID belongs to root, so that a program not run by root can't change its own
// oom_score_adj and the like. Elsewhere it answers ErrNoSeclusion: macOS and Windows
// leave that to code signing and integrity levels.
func Seclude() error { return seclude() }
