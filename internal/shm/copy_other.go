//go:build !amd64 || race

package shm

// copyShared: the race detector has to see the copy, and elsewhere nothing better is known.
func copyShared(dst, src []byte) { copy(dst, src) }

func copyOut(dst, src []byte, _ bool) { copy(dst, src) }

func claim([]byte) {}

func fetch([]byte) {}
