//go:build !race

package shm

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// wholeLines says that this processor stores a cache line in one instruction.
var wholeLines = cpu.X86.HasAVX512F

//go:noescape
func copyLines(dst, src *byte, lines int)

// streamLines stores past the caches; dst must be aligned to a line.
//
//go:noescape
func streamLines(dst, src *byte, lines int)

func copyShared(dst, src []byte, stream bool) {
	if !wholeLines || len(src) < copyFrom {
		copy(dst, src)
		return
	}
	// SAFETY: the address is only looked at, to find the first aligned byte.
	head := int(-uintptr(unsafe.Pointer(&dst[0])) & (cacheLine - 1))
	copy(dst[:head], src)
	dst, src = dst[head:], src[head:]
	lines := len(src) / cacheLine
	if stream {
		streamLines(&dst[0], &src[0], lines)
	} else {
		copyLines(&dst[0], &src[0], lines)
	}
	copy(dst[lines*cacheLine:], src[lines*cacheLine:])
}

//go:noescape
func claimLines(p *byte, lines int)

func claim(b []byte) { claimLines(&b[0], len(b)/cacheLine) }

//go:noescape
func fetchLines(p *byte, lines int)

func fetch(b []byte) { fetchLines(&b[0], len(b)/cacheLine) }
