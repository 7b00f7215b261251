// Package ipc moves payloads of any size between one engine and its companions
// through shared memory: bytes stay where they were written, only their location
// travels.
//
// The engine lives in the controller. A companion dials it, registers a name and
// gets a block of memory that it shares with the engine and with nobody else:
//
//	c, err := ipc.Dial(ctx, endpoint, "outlook")
//	s, err := c.Open(ctx, "controller/package", header)
//	p, err := s.Alloc(ctx, n)   // memory in the own block
//	copy(p.Bytes(), data)
//	err = s.Send(ctx, p)        // hands it over; the cost does not depend on n
//	m, err := s.Recv(ctx)       // m.Bytes() is the other side's memory itself
//	m.Release()                 // gives it back to its owner
//
// Whatever waits until a ctx ends answers context.Cause of it then.
//
// The rest of this page is the protocol, byte by byte, so that a companion can
// be written in another language from it. Integers are little-endian; sizes and
// offsets are in bytes; "must" means that who does otherwise is dropped, with a
// reason that the engine logs and shows in its Stats.
//
// # Channels
//
// Engine and companion share three things:
//
//	control   a stream (Unix socket in the session's 0700 runtime directory, peer
//	          uid checked; on Windows a named pipe of random name, DACL of this
//	          user): rendezvous, passing of handles, doorbells, and death
//	lane      one segment, written by both: two rings of fixed records
//	block     extents (segments) of payload memory; each belongs to one half:
//	          the outgoing half is allocated by the companion, the incoming half
//	          by the engine. No allocator state lies in shared memory.
//
// and the engine alone writes the directory, which every companion maps for
// reading. Segments are anonymous (memfd with sealed size, unnamed section,
// unlinked shm), committed before use, and on Linux sealed against further writable
// maps as soon as both sides have mapped them, the directory before. On Windows and
// macOS what the companion may only read comes by a handle that allows no more.
//
// # Control frames
//
// A frame is 8 bytes of head and up to 4096 bytes of body:
//
//	off len head
//	 0   1  type
//	 1   1  zero
//	 2   2  number of handles that come with the frame (at most 4)
//	 4   4  length of the body
//
// Handles travel as SCM_RIGHTS beside the first byte of the frame. On Windows the
// engine duplicates them into the companion and appends their values (8 bytes
// each) to the body.
//
//	type        to         body                                            handles
//	 1 hello    engine     magic "BERTHIPC", version u16, zero u16, pid    -
//	                       u32, outgoing u64, incoming u64 (bytes wished),
//	                       name length u16, name
//	 2 waiting  companion  empty: no room in the directory now, stay       -
//	 3 refused  companion  code u16, engine's version u16, text            -
//	 4 welcome  companion  version u16, zero u16, directory index u32,     directory,
//	                       generation u32, slots u32, unit u32, window     lane (and on
//	                       u32, directory bytes u64, lane bytes u64,       Windows: up
//	                       largest parcel u64, whole u64                   event, down event)
//	 5 extent   companion  segment u32, half u32 (0 outgoing, 1            the extent
//	                       incoming, 2 passed), size u64
//	 6 mapped   engine     segment u32 (0: directory and lane), of half 0  -
//	                       and 1 only
//	 7 registered companion empty: the directory shows this companion       -
//	 8 want     engine     size u64: an outgoing extent for such a parcel  -
//	 9 denied   companion  size u64: that want can't be met now            -
//	10 forget   both       segment u32: its allocator has unmapped it or   -
//	                       asks the other side to unmap it
//	11 trim     companion  empty: forget the extents that are empty        -
//	12 doorbell both       empty: look at the ring, and at the directory  -
//	13 failure  both       text: the reason why the sender hangs up        -
//	14 watch    engine     changes u32: a doorbell, once, when the         -
//	                       directory counts another number of changes
//
// Whoever has read a frame of any type looks at its ring afterwards and, if it
// watches the directory, at that: a doorbell may be left out when the stream is full
// of other frames, and one may come before registered.
//
// Rendezvous: hello → (waiting)* → welcome, extent × 2 → mapped × 3 (0, 1, 2) →
// registered.
// Until registered nobody sees the companion; if it dies before, nothing stays.
//
// Either allocator forgets an extent when it lies empty, and keeps its last one until
// a trim says that memory is short (the engine knows without). Then it may go as well:
// who forgets the last extent of a half, of more than 65536 bytes, gets one of 65536
// for it, or denied. For the outgoing half that counts as a want.
//
// A companion of another version gets refused with code 1 and the engine's version.
// That much every version understands: the head of a frame, the first 12 bytes of
// hello, the first 4 of refused and the first 2 of welcome never change. Codes of
// refused: 1 version, 2 name (it is taken, or the engine's own), 3 quota, 4 broken
// protocol.
//
// # Directory
//
// 4096 bytes of head, then 4096 entries of 128 bytes. Written by the engine only;
// companions get no handle that could be mapped for writing.
//
//	off len head
//	 0   8  magic "BERTHDIR"
//	 8   4  version
//	12   4  capacity: the number of entries
//	16   4  changes: +1 after somebody came, began to leave, or left
//	20   4  pid of the engine
//	24   4  companions registered
//	28      zero
//
//	off len entry
//	 0   4  sequence: odd while more than one word changes
//	 4   4  state: 0 free, 1 registered, 2 leaving (dead, and being cleared up after)
//	 8   4  generation: counts the users of the entry
//	12   4  pid
//	16   8  bytes of the block; follows the block without a change being counted
//	24   8  registered at, Unix nanoseconds
//	32   8  zero
//	40   8  length of the name
//	48  64  name, padded with zeros
//	112     zero
//
// A reader copies an entry and takes the copy when the state was 1 and the sequence
// even and the same before and after. Who watches notes changes first, then reads
// the entries, then sends watch with what it noted, and reads again when a frame
// has come and changes is another.
//
// # Lane
//
//	off    len  what
//	   0    8   magic "BERTHLNE"
//	   8    4   version
//	  12    4   slots n in each ring, a power of two (welcome counts, not this)
//	  64    4   up wake       "up" is from the companion to the engine
//	 128    4   up head
//	 192    4   up space
//	 256    4   down wake
//	 320    4   down head
//	 384    4   down space
//	4096  128n  up ring
//	   …  128n  down ring
//
// The producer of a ring counts positions from 0; position p uses slot p mod n.
// It writes the rest of the record, then bytes 0 to 7 in one atomic exchange.
// A slot holds the record of position p when its turn is p+1 (modulo 2^32). The
// consumer copies the record once, checks the copy, uses only the copy, and moves
// head (its position) on by an atomic exchange. tail-head never exceeds n.
//
//	wake   how the consumer wants to be told of a record: 0 not at all, it is
//	       looking; 1 it sleeps in the kernel on this word (futex; on Windows on
//	       the ring's event); 2 by a doorbell frame. After publishing, the producer
//	       reads wake and, if it is not 0, exchanges it for 0 and acts on what the
//	       exchange gave. The consumer sets it by exchange and then looks again.
//	space  1 when the producer waits for a free slot. The consumer, after moving
//	       head, exchanges it for 0 and, if it was 1, wakes the other side as if a
//	       record had come.
//
// A sleep of the engine's ends by itself, after 100 ms at the latest, should its
// companion move the sleeper to another word or take its wake-ups.
//
// All of these are exchanges and not plain stores: a store may be passed by the
// load that follows it, and a wake-up would be lost.
//
// # Records
//
//	off len
//	 0   4  turn
//	 4   1  kind
//	 5   1  flags: 1 request, 2 reply, 4 end of stream, 8 inline, 16 whole segment,
//	        32 trusted
//	 6   2  length of inline data (0 to 112) or of the list of a release
//	 8   4  session: odd numbers are opened by the companion, even ones by the engine
//	12   4  argument
//	16 112  inline data, or a location:
//	        16 4 segment · 20 4 generation · 24 8 offset · 32 8 length
//	        or a list of 1 to 7 times
//	         0 4 segment ·  4 4 generation ·  8 8 offset
//	        Bytes that mean nothing may hold anything.
//
// A location lies in the half of the sender (in release: of the receiver). Its
// offset is a multiple of the unit, offset+length stays inside the extent, and
// the generation is the one that the owner's allocator gave this allocation.
//
//	kind       argument            body
//	1 open     window              inline or location: address length u8, address,
//	                               sender length u8, sender, header
//	2 opened   window              -
//	3 message  correlation or 0    inline or location
//	4 release  -                   list: the memory goes back, and one credit for each
//	5 credit   n                   -: n inline messages were taken
//	6 close    code                inline: reason
//	7 starved  -                   length of the location: there was no memory for a
//	                               message of that many bytes
//
// Window is the number of messages that may be under way to who states it: a
// message takes a credit, its release (or credit, when it was inline) gives it
// back. Each side closes a session once; its number is never used again (a lane ends with
// the 2^31 numbers of a side). What was
// sent before a close is still delivered. Close codes: 0 done, 1 no such address,
// 2 refused, 3 peer gone, 4 quota, 5 canceled, 6 no memory.
//
// # Whole segments
//
// Between two companions the engine copies a message into the incoming half of the
// receiver. A parcel of at least "whole" bytes (welcome; 0: never, where the system
// can't seal) that fills an outgoing extent alone is passed instead: the sender
// unmaps the extent and sends the message with flag 16, and the extent is its no
// more. The engine seals it against every writer (F_SEAL_WRITE; a sender that still
// has it mapped a second later is dropped) and sends the receiver two things at once: a
// message with flag 16 at offset 0 of it, and the segment in an extent frame of half 2.
// Either may be read first, and no doorbell comes with them: the companion keeps the
// message, and whatever follows it in its session, until it has mapped the segment. The
// release of the receiver ends it; the sender gets its credit as a credit record.
//
// In a trusted session (flag 32 in both open and opened: both programs ask for it by
// name) the engine seals with F_SEAL_FUTURE_WRITE and waits for nobody: the sender
// may unmap late, and could write until it has.
//
// # Cache
//
// What the engine keeps under names for late companions stands behind the address
// "controller/.cache". A session is one request; its header is JSON:
//
//	{"op":"retain","name":"x","bytes":5}   and then a stream of so many bytes
//	{"op":"fetch","name":"x"}
//	{"op":"forget","name":"x"}
//	{"op":"list"}
//
// A stream is a row of messages, the last of them with flag 4. The engine answers retain,
// once all is kept, and forget by an empty message, list by a JSON array of objects with
// name, bytes, owner, since (RFC 3339) and readers, and fetch by a whole segment. The
// length of the message is the payload's; the extent may be longer. Until its release, which may come
// after the end of the session, nobody evicts the payload. Then, or instead of an answer,
// the engine closes the session. Codes: 1 nothing is kept under that name, 2 not a
// request, or other bytes than were announced, 6 no room.
//
// # Memory that vanishes
//
// Nobody can take pages away under a map: sizes are sealed and memory is committed
// before it is passed on (Linux), a section can't shrink while it is mapped (Windows),
// the size of a segment is set once (macOS). Should it happen all the same, the Go
// client and the engine answer for it so:
//
//	lane, at any time               the link ends with ErrFault: it wraps ErrPeer
//	Fill, CopyTo, SendBytes,        as above, and the call answers it (Fill and
//	Writer, Reader, Carry           CopyTo: 0 bytes)
//	Bytes of Message and Parcel     as above in a Handler and under Session.Guard,
//	                                which end there; elsewhere the program ends
//	directory, in a companion       as above
//	directory, in the engine        the program ends: it is the engine's own memory
//
// The engine counts such a companion in Stats under "fault". What a handler holds is
// given back by its deferred calls alone. The runtime turns the fault into a panic in
// Go code only (SIGBUS and SIGSEGV; EXCEPTION_IN_PAGE_ERROR and access violations on
// Windows): a system call that is handed such memory fails with the system's error,
// and C code that touches it ends the program.
//
// # Limits
//
// What the engine grants one companion, however it is written. Nothing here costs an
// honest one anything but the doorbells: ring when the exchange of wake answered 2,
// and never otherwise; who rings after every record is dropped soon.
//
//	 most what                                                     beyond it
//	  256 doorbells more than wake has called for, in all          dropped
//	 1000 frames of other types in a second                        1 ms each
//	 4096 unread frames: it reads none, stopped or not             dropped
//	    1 want at a time, until an extent or denied came           dropped
//	    0 handles passed with its frames                           dropped
//	 1024 extents of both halves, passed ones included             denied
//	 1024 sessions open at a time                                  close, code 4
//	 8192 unclosed sessions: those and what it has yet to close    dropped
//	65536 records that wait until it reads its ring                dropped
//	66048 bytes in the body of an open                             dropped
//	   10 seconds from dialling to hello, and from there to mapped hung up
//	    2 longer for a name that somebody has, in seconds          refused, code 2
//	   30 waited for the answer to its open, in seconds            close, code 2
//	   30 silent within what it retains, in seconds                close, code 2
//	 1024 fetched payloads that it has not released                close, code 2
//	 1024 kept payloads, of all together: the oldest goes, and     close, code 6
//	      while all are being read
//
// Memory: three quarters of the engine's budget for one companion unless its host says
// otherwise, then denied. Whole segments that others send it count towards that and the
// extents, and wait until it has released others when they don't fit; while it holds none, one is sent all the same. A parcel of more than "largest parcel" (welcome) is never
// granted, and a want for one is dropped. Descriptors: the engine keeps one for each
// segment (macOS: two), a companion may close what it has mapped. While fewer than 64 are left of
// the engine's own (Unix) nobody new is let in: refused, code 3.
//
// # Addresses
//
// "name/service": a registered companion's name and a service that it accepts;
// "controller" is the engine's host. Names and services are 1 to 64 characters of
// [a-zA-Z0-9._-]. Addresses with more slashes are kept for other machines.
package ipc
