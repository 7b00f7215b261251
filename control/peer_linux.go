package control

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// foreignUser tells whether the other end of a loopback connection belongs to
// another user, root excepted. The kernel is asked whose socket it is; when it
// does not say (the socket is gone, or a sandbox forbids the question) the answer
// is no: this is a first fence, the proofs come after it.
func foreignUser(c net.Conn) bool {
	here, ok1 := addrPort(c.LocalAddr())
	there, ok2 := addrPort(c.RemoteAddr())
	if !ok1 || !ok2 {
		return false
	}
	uid, ok := socketOwner(there, here)
	return ok && uid != 0 && int(uid) != os.Geteuid()
}

func addrPort(a net.Addr) (netip.AddrPort, bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	p := netip.AddrPortFrom(t.AddrPort().Addr().Unmap(), uint16(t.Port))
	return p, p.Addr().Is4()
}

// socketOwner asks the kernel for the owner of the TCP socket from local to peer.
func socketOwner(local, peer netip.AddrPort) (uid uint32, ok bool) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, false
	}
	defer func() { _ = unix.Close(fd) }()
	limit := unix.NsecToTimeval(time.Second.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	if err := unix.Sendto(fd, diagRequest(local, peer), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, false
	}
	reply := make([]byte, 1024)
	n, from, err := unix.Recvfrom(fd, reply, 0)
	if k, kernel := from.(*unix.SockaddrNetlink); err != nil || !kernel || k.Pid != 0 {
		return 0, false
	}
	return diagOwner(reply[:n], local)
}

// diagRequest is a netlink header (16 bytes) and an inet_diag_req_v2 (56 bytes)
// that names one socket.
func diagRequest(local, peer netip.AddrPort) []byte {
	b := make([]byte, 72)
	host := binary.NativeEndian
	host.PutUint32(b[0:], uint32(len(b)))
	host.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	host.PutUint16(b[6:], unix.NLM_F_REQUEST)
	b[16], b[17] = unix.AF_INET, unix.IPPROTO_TCP
	host.PutUint32(b[20:], 1<<32-1) // in any state
	binary.BigEndian.PutUint16(b[24:], local.Port())
	binary.BigEndian.PutUint16(b[26:], peer.Port())
	copy(b[28:], local.Addr().AsSlice())
	copy(b[44:], peer.Addr().AsSlice())
	host.PutUint64(b[64:], 1<<64-1) // no cookie
	return b
}

// diagOwner reads an inet_diag_msg (72 bytes behind the header). Only the answer
// about the socket that was asked for counts.
func diagOwner(b []byte, local netip.AddrPort) (uid uint32, ok bool) {
	if len(b) < 16+72 || binary.NativeEndian.Uint16(b[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return 0, false
	}
	m := b[16:]
	if binary.BigEndian.Uint16(m[4:]) != local.Port() {
		return 0, false
	}
	return binary.NativeEndian.Uint32(m[64:]), true
}
