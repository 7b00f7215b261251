package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// viaFutex is the least that a round trip between two processes can cost when neither
// looks while it waits: one word each way, one wake-up, one sleep, and nothing else.
type viaFutex struct {
	there, back *atomic.Uint32
	mem         []byte
	cmd         *exec.Cmd
}

func startFutex(int) (transport, int, error) {
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, 0, err
	}
	file := os.NewFile(uintptr(fd), "words")
	defer func() { _ = file.Close() }()
	if err := file.Truncate(4096); err != nil {
		return nil, 0, err
	}
	v, err := futexWords(fd)
	if err != nil {
		return nil, 0, err
	}
	if v.cmd, err = child("futex", "", file); err != nil {
		return nil, 0, err
	}
	return v, v.cmd.Process.Pid, nil
}

func futexWords(fd int) (*viaFutex, error) {
	mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	// SAFETY: both words are aligned and lie in the page that mem keeps mapped.
	return &viaFutex{there: (*atomic.Uint32)(unsafe.Pointer(&mem[0])), back: (*atomic.Uint32)(unsafe.Pointer(&mem[128])), mem: mem}, nil
}

// wait sleeps until w is no longer old.
func wait(w *atomic.Uint32, old uint32) uint32 {
	for {
		if now := w.Load(); now != old {
			return now
		}
		// SAFETY: w lies in mapped memory for as long as the process lives.
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 0, uintptr(old), 0, 0, 0)
	}
}

func wake(w *atomic.Uint32) {
	w.Add(1)
	// SAFETY: as in wait.
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 1, 1, 0, 0, 0)
}

// echo carries 64 bytes beside each word, as the others do.
func (v *viaFutex) echo() error {
	binary.LittleEndian.PutUint64(v.mem[64:], binary.LittleEndian.Uint64(v.mem[192:])+1)
	old := v.back.Load()
	wake(v.there)
	wait(v.back, old)
	return nil
}

func (v *viaFutex) push([]byte, int) error { return nil }

func (v *viaFutex) close() { stop(v.cmd) }

func playFutex() error {
	v, err := futexWords(3)
	if err != nil {
		return err
	}
	for seen := uint32(0); ; {
		seen = wait(v.there, seen)
		copy(v.mem[192:256], v.mem[64:128])
		wake(v.back)
	}
}
