package portshare

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"berth/internal/shm"
	"berth/session"
)

// fileBell watches the record's file in a kqueue. Stores through the mapping are
// not reported, so ring also writes a byte behind the record.
type fileBell struct {
	word  *uint32
	file  *os.File
	queue *queue
	once  sync.Once
	ended chan struct{}
}

func newBell(_ session.Session, _ string, memory *shm.Named, word *uint32) (bell, error) {
	q, err := newQueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	written := unix.Kevent_t{Fflags: unix.NOTE_WRITE}
	unix.SetKevent(&written, int(memory.File().Fd()), unix.EVFILT_VNODE, unix.EV_ADD|unix.EV_CLEAR)
	if err := q.add(written); err != nil {
		q.close()
		return nil, os.NewSyscallError("kevent", err)
	}
	return &fileBell{word: word, file: memory.File(), queue: q, ended: make(chan struct{})}, nil
}

// wait never loses a wake-up: the filter was registered before the word is
// compared, and keeps what happened between two waits.
func (b *fileBell) wait(seq uint32) bool {
	for atomic.LoadUint32(b.word) == seq {
		if b.queue.wait() {
			b.once.Do(func() { close(b.ended) })
			return true
		}
	}
	return false
}

func (b *fileBell) ring(uint32) {
	b.file.WriteAt([]byte{0}, memorySize-1) //nolint:errcheck // the page exists; waiters look again after a while anyway
}

func (b *fileBell) close() {
	b.queue.interrupt()
	<-b.ended
	b.queue.close()
}
