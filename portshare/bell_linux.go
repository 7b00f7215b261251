package portshare

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/internal/shm"
	"berth/session"
)

// Operations of futex(2), both on futexes shared between processes.
const (
	futexWait = 0
	futexWake = 1
)

// futexBell sleeps in a futex on the sequence, shared between processes.
type futexBell struct {
	word   *uint32
	closed atomic.Bool
	once   sync.Once
	ended  chan struct{}
}

func newBell(_ session.Session, _ string, _ *shm.Named, word *uint32) (bell, error) {
	return newFutexBell(word), nil
}

func newFutexBell(word *uint32) *futexBell {
	return &futexBell{word: word, ended: make(chan struct{})}
}

// wait never loses a wake-up: the kernel compares the word under the lock of the
// futex's queue, and a ring comes after the word has changed. Either the compare
// sees the change, or the ring sees the waiter.
//
// The system call goes through Syscall6, not RawSyscall6: a blocked thread must not
// hold up the garbage collector.
func (b *futexBell) wait(seq uint32) bool {
	for !b.closed.Load() && atomic.LoadUint32(b.word) == seq {
		// SAFETY: the word stays mapped until close has returned.
		_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(b.word)), futexWait, uintptr(seq), 0, 0, 0)
		if errno != 0 && !errors.Is(errno, unix.EINTR) {
			break // EAGAIN: it has changed
		}
	}
	if b.closed.Load() {
		b.once.Do(func() { close(b.ended) })
		return true
	}
	return false
}

// ring wakes all waiters of all processes. seq is implied by the word.
func (b *futexBell) ring(uint32) {
	const all = 1<<31 - 1
	// SAFETY: the word is mapped: the caller has just written to the record. The
	// wake does not block, so the raw call is in order.
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(b.word)), futexWake, all, 0, 0, 0)
}

// close rings until the waiter has noticed: it may have looked at closed just
// before, and not be asleep yet. Other processes wake too, and go on sleeping.
func (b *futexBell) close() {
	b.closed.Store(true)
	for {
		b.ring(0)
		select {
		case <-b.ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}
