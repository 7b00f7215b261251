//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// unixWire is a control stream over a Unix socket.
type unixWire struct {
	*net.UnixConn
	handles []uintptr // came with bytes already read
}

func openWire(endpoint string) (wireConn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: endpoint, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return &unixWire{UnixConn: c}, nil
}

func (u *unixWire) readFrame() (kind uint8, body []byte, handles []uintptr, err error) {
	kind, _, body, err = readWireHead((*unixReader)(u))
	handles, u.handles = u.handles, nil
	return kind, body, handles, err
}

// unixReader collects the descriptors beside what it reads.
type unixReader unixWire

func (r *unixReader) Read(b []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := r.ReadMsgUnix(b, oob)
	messages, parseErr := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		fds, rightsErr := unix.ParseUnixRights(&messages[i])
		parseErr = errors.Join(parseErr, rightsErr)
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			r.handles = append(r.handles, uintptr(fd))
		}
	}
	if err == nil && n == 0 && len(b) > 0 {
		err = io.EOF
	}
	return n, errors.Join(err, parseErr)
}

func closeWireHandles(handles []uintptr) {
	for _, h := range handles {
		_ = unix.Close(int(h))
	}
}

func mapWire(handle uintptr, size int, writable bool) ([]byte, error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	b, err := unix.Mmap(int(handle), 0, size, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of the engine: %w", size, err)
	}
	return b, nil
}

func unmapWire(b []byte) { _ = unix.Munmap(b) }
