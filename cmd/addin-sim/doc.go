// Command addin-sim is a companion without an application around it: it finds
// the controller of its session, registers with the engine, hands files over and
// prints the links. Read send.go first; a real add-in takes the same six steps.
//
// It reaches only what a companion needs: session, portshare, ipc and the client
// of control. `switch` puts many of them, in several sessions at once, through
// random starts and kills (simulation.go) and checks what must always hold
// (checks.go).
package main
