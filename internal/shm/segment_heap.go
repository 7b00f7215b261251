package shm

import "unsafe"

// alignedBytes is a slice of n bytes that starts on a cache line.
func alignedBytes(n int) []byte {
	const line = 64
	b := make([]byte, n+line)
	// SAFETY: the address is only looked at, to find the first aligned index.
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (line - 1))
	return b[skip : skip+n : skip+n]
}
