package ipc

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiving is a receipt under way. net.UnixConn would make the peer's address anew with
// each, three allocations for every doorbell.
type receiving struct {
	head unix.Msghdr
	body unix.Iovec
	n    int
	err  syscall.Errno
	now  func(fd uintptr) bool // step, made once
}

// receive reads from u into b, which is on the heap and not empty, and descriptors into
// u.oob.
func (r *receiving) receive(u *unixConn, b []byte) (n, oobn, flags int, err error) {
	if r.now == nil {
		r.now = r.step
	}
	r.body.Base, r.head.Iov, r.head.Control = &b[0], &r.body, &u.oob[0]
	r.body.SetLen(len(b))
	r.head.SetIovlen(1)
	r.head.SetControllen(len(u.oob))
	err = u.raw.Read(r.now)
	r.body.Base = nil
	if err == nil && r.err != 0 {
		err = os.NewSyscallError("recvmsg", r.err)
	}
	if err != nil {
		return 0, 0, 0, err
	}
	return r.n, int(r.head.Controllen), int(r.head.Flags), nil
}

// step takes what is there; false when nothing is.
func (r *receiving) step(fd uintptr) bool {
	for {
		// SAFETY: head points to memory on the heap that it keeps there: the conn's own and the caller's of receive.
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&r.head)), unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if errno == unix.EINTR {
			continue
		}
		r.n, r.err = int(n), errno
		return errno != unix.EAGAIN
	}
}
