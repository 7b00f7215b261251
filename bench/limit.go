package main

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/shm"
)

// sharedMemory is size bytes of memory, warm, as two processes would map it: twice.
func sharedMemory(size int) (a, b []byte, err error) {
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err = unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, nil, err
	}
	for _, m := range []*[]byte{&a, &b} {
		if *m, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
			return nil, nil, err
		}
	}
	return a, b, nil
}

// measureCopy is what one thread can do: from a buffer of its own into warm shared
// memory, always the same place.
func measureCopy(size int) (float64, error) {
	dst, other, err := sharedMemory(size)
	if err != nil {
		return 0, err
	}
	defer func() { _, _ = unix.Munmap(dst), unix.Munmap(other) }()
	src := make([]byte, size)
	fillBytes(src)
	count := 0
	start := time.Now()
	for time.Since(start) < time.Second/5 {
		for range max(1, (1<<20)/size) {
			copy(dst, src)
			count++
		}
	}
	return float64(size) * float64(count) / time.Since(start).Seconds() / 1e9, nil
}

// line is a word that shares its cache line with nothing.
type line struct {
	atomic.Uint64
	_ [120]byte
}

// measureTwoCopies is what two cores can do with nothing around the copies that
// every engine must make: one copies in, the other copies out, through a ring of 64
// pieces; one counter each way says how far they are.
func measureTwoCopies(size int) (float64, error) {
	const window = 64
	n := min(size, piece)
	in, out, err := sharedMemory(n * window)
	if err != nil {
		return 0, err
	}
	defer func() { _, _ = unix.Munmap(in), unix.Munmap(out) }()
	src, dst := make([]byte, size), make([]byte, size)
	fillBytes(src)
	var filled, emptied line
	total := uint64(max(2*window, int(2e9)/n))
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		follow(total, &filled, 0, func(i uint64) {
			shm.CopyOut(dst[int(i)*n%size:], out[int(i%window)*n:][:n], size)
			emptied.Store(i + 1)
		})
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := time.Now()
	follow(total, &emptied, window, func(i uint64) {
		shm.Copy(in[int(i%window)*n:], src[int(i)*n%size:][:n])
		filled.Store(i + 1)
	})
	<-done
	return float64(total) * float64(n) / time.Since(start).Seconds() / 1e9, nil
}

// follow calls do for 0 to total-1, never further than ahead in front of other.
func follow(total uint64, other *line, ahead uint64, do func(uint64)) {
	seen := uint64(0)
	for i := range total {
		for seen+ahead <= i {
			seen = other.Load()
		}
		do(i)
	}
}

func fillBytes(b []byte) {
	for i := range b {
		b[i] = byte(i)
	}
}
