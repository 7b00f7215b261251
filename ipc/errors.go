package ipc

import (
	"errors"
	"fmt"
)

// Errors that programs tell apart. Errors of this package wrap one of them or
// the system's own.
var (
	// ErrVersion: engine and companion were built with different layouts.
	ErrVersion = errors.New("engine and companion speak different versions")
	// ErrRefused: the engine or the addressed companion said no.
	ErrRefused = errors.New("refused")
	// ErrName: somebody is registered under this name. It wraps ErrRefused.
	ErrName = fmt.Errorf("%w for its name", ErrRefused)
	// ErrAddress: an invalid name or address, or nobody there by that name.
	ErrAddress = errors.New("no such address")
	// ErrNoMemory: no block of the wanted size is free, and no more may be had.
	ErrNoMemory = errors.New("out of shared memory")
	// ErrStarved: the other side had no memory for its next message. A notice, and no
	// end: the session goes on. It doesn't wrap ErrNoMemory, which ends a session.
	ErrStarved = errors.New("the other side is out of shared memory")
	// ErrClosed: the session, client or engine has been closed on this side.
	ErrClosed = errors.New("closed")
	// ErrPeer: the other side is gone; what was in flight is lost.
	ErrPeer = errors.New("the other side is gone")
	// ErrProtocol: the other side broke the protocol and was dropped.
	ErrProtocol = errors.New("protocol broken")
	// ErrFault: memory that is shared with the other side could not be reached (SIGBUS);
	// the link has ended, and the program goes on. It wraps ErrPeer.
	ErrFault = fmt.Errorf("%w: its shared memory has vanished", ErrPeer)
	// ErrMisuse: what the program does can only be its own mistake; nothing has been sent.
	ErrMisuse = errors.New("used wrongly")
	// ErrTooLarge: no block can ever hold this; use a stream.
	ErrTooLarge = errors.New("larger than any block may be")
)
