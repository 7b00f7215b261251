// Package portshare keeps one small record per session in non-persistent shared
// memory: the port that a session's companions and its controller share, who
// listens there, and the keys to talk to them.
//
// Either side may come first. The first participant scans for a free port and
// publishes it as reserved; a controller listens on that very port and publishes
// listening; everybody else finds it ([Join]) or waits for it ([Record.Wait]). The
// record lives exactly as long as its participants: after kill -9 of all of them
// it is gone, and as long as one lives, the port stays known.
//
// # States
//
//	          scan            Publish            Drain
//	empty ───────────▶ reserved ─────────▶ listening ─────────▶ draining
//	                      ▲  ▲                 │                    │
//	                      │  └─── Withdraw ────┴────────────────────┤
//	                      └────── the holder died (seen by anyone) ─┘
//
// Publish raises the generation by one and brings a new key and certificate; a port
// that was lost is replaced by a new scan, which also raises the generation.
// Listening and draining count only while their holder lives: the first participant
// that sees it dead publishes reserved, the same port, key and certificate zeroed.
//
// # Layout
//
// The record is the first 224 bytes of the file "APP.record" in the runtime
// directory of the session (Unix), or of the section "Local\berth-APP.record-SID-
// SESSION[-NAME]-section" (Windows). APP is "berth" for the controller. Integers
// are little-endian. There is no padding, and each field is aligned to its size.
//
//	offset  size  field
//	     0     8  magic, the bytes "BERTHREC"
//	     8     4  layout version, 1
//	    12     4  size of the record in bytes, 224
//	    16     4  sequence: odd while the record is being written
//	    20     4  state: 0 empty, 1 reserved, 2 listening, 3 draining
//	    24     8  generation, 0 until the first listening
//	    32     4  TCP port on 127.0.0.1, 1 to 65535; 0 when empty
//	    36     4  holder's process id; 0 when empty or reserved
//	    40     8  holder's start time: Linux field 22 of /proc/PID/stat (clock ticks
//	              since boot); Windows the creation time of GetProcessTimes (100 ns
//	              units since 1601); macOS p_starttime in microseconds since 1970
//	    48   104  endpoint of the engine, UTF-8, filled up with zero bytes
//	   152    32  session key; zeros unless listening or draining
//	   184    32  SHA-256 of the control certificate (DER); zeros likewise
//	   216     4  Linux: inode number of the holder's process id namespace
//	              (/proc/PID/ns/pid); 0 on other systems and without a holder
//	   220     4  CRC-32 (IEEE 802.3, as in zlib) of bytes 0 to 15 and 20 to 219
//
// The memory is 4096 bytes; those after the record belong to nobody and are
// written on macOS to wake those who watch the file. Magic, version, size and
// sequence keep their places in every later version.
//
// # Reading it from another language
//
//  1. Open and map the memory for reading. On Unix use the directory's owner and
//     mode (0700) as proof of where it comes from, and O_NOFOLLOW.
//  2. On Unix make sure that somebody is behind the bytes, which outlive the last
//     participant: lock "APP.gate.lock" (flock, exclusive; it is held for
//     milliseconds), try "APP.life" (flock, exclusive, non-blocking), release both.
//     If "APP.life" could be locked, there is no record. On Windows a section that
//     opens has a participant.
//  3. Load the sequence. If it is odd, go back to 3.
//  4. Copy the 224 bytes, then load the sequence again (with an acquire barrier
//     before it). If it differs from the first value, go back to 3.
//  5. Compare magic, version, size and checksum. Use only the copy.
//  6. Listening and draining count only if the process with that id exists and has
//     that start time. If not, treat the record as reserved, and ignore the keys. On
//     Linux, when the holder's namespace is not yours, they count only if
//     "APP.holder.lock" cannot be locked (flock, exclusive, non-blocking): its holder
//     has it locked as long as it lives.
//
// To wait for a change, sleep while the sequence has the value that was read: on
// Linux in FUTEX_WAIT (not private) on its address; on Windows on the manual-reset
// event "Local\berth-APP-SID-SESSION[-NAME]-bell-SEQUENCE" (decimal), created
// before the sequence is compared once more; on macOS in a kqueue with EVFILT_VNODE
// and NOTE_WRITE on the file. Also watch the holder. A reader that wants the port
// to stay known after the others have gone must take part: under the exclusive gate
// take "APP.life" shared (Unix) or open the section (Windows), keep it, and on Linux
// bind the port with SO_REUSEPORT, without listening.
//
// On Windows the gate is the mutex "Local\berth-APP.gate-SID-SESSION[-NAME]-mutex".
// Where BERTH_RUNTIME moves the runtime directory, every object name has one more
// part before its last: the 64-bit FNV-1a hash of that variable's value, in base 36.
//
// Only holders of the gate write. Writing: raise the sequence to odd (leave it if it
// is odd already: that writer died), write the fields, raise it to even, wake.
package portshare
