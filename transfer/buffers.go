package transfer

// The queue keeps the buffers of its uploads: two for each that runs at a time,
// so that memory does not grow with the number of items.

func (q *Queue) buffer() []byte {
	select {
	case b := <-q.buffers:
		return b
	default:
		return make([]byte, pieceSize)
	}
}

func (q *Queue) recycleOne(b []byte) {
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
