package ipc

// receiving is the business of the net package.
type receiving struct{}

// receive reads from u into b, and descriptors into u.oob.
func (receiving) receive(u *unixConn, b []byte) (n, oobn, flags int, err error) {
	n, oobn, flags, _, err = u.c.ReadMsgUnix(b, u.oob)
	return n, oobn, flags, err
}
