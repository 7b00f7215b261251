package transfer

// The queue keeps the buffers of its uploads: two for each that runs at a time,
// so that memory does not grow with the number of items. Small items get small
// ones of their own.

// buffer answers a piece for up to n bytes, never an empty one.
func (q *Queue) buffer(n int64) []byte {
	if n < pieceSize/2 {
		return make([]byte, max(n, 1))
	}
	select {
	case b := <-q.buffers:
		return b
	default:
		return make([]byte, pieceSize)
	}
}

func (q *Queue) recycleOne(b []byte) {
	if cap(b) < pieceSize {
		return
	}
	select {
	case q.buffers <- b[:pieceSize]:
	default:
	}
}

// recycle takes back what lies in free.
func (q *Queue) recycle(free <-chan []byte) {
	for {
		select {
		case b := <-free:
			q.recycleOne(b)
		default:
			return
		}
	}
}
