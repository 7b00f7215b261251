package portshare

// bell wakes the processes that sleep until the sequence changes. Each Record has
// one waiter, which passes the news on within its process.
type bell interface {
	// wait sleeps while the sequence equals seq. It answers true once close was called.
	wait(seq uint32) (closed bool)
	// ring wakes everybody who waits for the end of seq. The sequence has changed before.
	ring(seq uint32)
	// close ends the waiter, and returns after wait has answered true.
	close()
}
