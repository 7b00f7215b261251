// Package shm maps memory that processes share.
//
// There are two kinds. A [Segment] is anonymous: it has no name, is passed on by
// its handle, and carries the engine's blocks and lanes. A [Named] is found by its
// name within a session and carries the port record.
//
// Mapped memory is not the garbage collector's: a slice of it must not be touched
// after Close, and no Go pointer may be stored in it.
package shm
