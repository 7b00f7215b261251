/* A lane between two processes: rings with turns, wake and space words, doorbells.
 *
 * Both sides send through a ring of their own and read the other's; each statement
 * that touches shared memory is one load, store or exchange of ring.go, pump.go or
 * link.go. Every side has a store buffer of one entry, as on x86: a plain store waits
 * in it, is seen by its own side at once and by the other later, and may be passed by
 * the loads that follow. An exchange empties it first.
 *
 * Held to be true: no record is lost, doubled, torn or overwritten (assertions), and
 * everything sent arrives (the formula delivered; no invalid end state).
 */
#ifndef UP
#define UP 3            /* records from side 0 to side 1 */
#endif
#ifndef DOWN
#define DOWN 1          /* and back */
#endif
#define SLOTS 2

#define AWAKE    0
#define ASLEEP   1
#define DOORBELL 2

/* Words of ring r, which side r writes and side 1-r reads. */
#define TURN(r,p)  (7*(r) + (p)%SLOTS)
#define BODY(r,p)  (7*(r) + 2 + (p)%SLOTS)
#define HEAD(r)    (7*(r) + 4)
#define WAKE(r)    (7*(r) + 5)
#define SPACE(r)   (7*(r) + 6)

byte mem[14];
bit held[2];             /* the store buffers */
byte at[2], value[2];

bit parked[2];           /* the side sleeps in the kernel on the wake word of its own */
mtype = { bell, other }; /* control frames: a doorbell, or any other */
chan stream[2] = [1] of { mtype };  /* to the side of that number; it may be full */
byte took[2];            /* records that the side has read */

#define other_side (1-me)

#define load(a)    (held[me] && at[me] == (a) -> value[me] : mem[a])

inline store(a, v) { atomic { !held[me] -> held[me] = 1; at[me] = a; value[me] = v } }

inline swap(a, v, old) { atomic { !held[me] -> old = mem[a]; mem[a] = v } }

/* The buffers drain by themselves. */
active proctype Drain() {
end:
  do
  :: atomic { held[0] -> mem[at[0]] = value[0]; held[0] = 0; at[0] = 0; value[0] = 0 }
  :: atomic { held[1] -> mem[at[1]] = value[1]; held[1] = 0; at[1] = 0; value[1] = 0 }
  od
}

/* Frames of other kinds get in front of doorbells. */
active proctype Noise() {
  if
  :: stream[0]!other
  :: stream[1]!other
  :: skip
  fi
}

/* link.act: w is what the exchange of the other side's wake word gave. */
inline act(w) {
  if
  :: atomic { w == ASLEEP -> parked[other_side] = 0 }
  :: w == DOORBELL ->
     atomic { if :: nfull(stream[other_side]) -> stream[other_side]!bell :: full(stream[other_side]) fi }
  :: w == AWAKE
  fi;
  w = 0
}

/* Take the other side's wish to be woken and act on it. */
inline wakeOther() {
#ifdef MUTANT_WISH_TAKEN_WITHOUT_EXCHANGE
  w = load(WAKE(me));
  store(WAKE(me), AWAKE);
#else
  swap(WAKE(me), AWAKE, w);
#endif
  act(w)
}

/* producer.push; the caller has made sure of room. */
inline push() {
  assert(tail - took[other_side] < SLOTS);             /* never overrun */
#ifdef MUTANT_TURN_BEFORE_BODY
  swap(TURN(me, tail), tail + 1, w);
  store(BODY(me, tail), tail + 1);
#else
  store(BODY(me, tail), tail + 1);
#ifdef MUTANT_TURN_STORED
  store(TURN(me, tail), tail + 1);
#else
  swap(TURN(me, tail), tail + 1, w);
#endif
#endif
  tail++;
  w = load(WAKE(me));
  if
  :: w == AWAKE
  :: w != AWAKE -> wakeOther()
  fi
}

/* producer.room: answers in seen whether tail - seen < SLOTS. */
inline room() {
  if
  :: tail - seen < SLOTS
  :: else -> seen = load(HEAD(me)); assert(tail - seen <= SLOTS)
  fi
}

/* link.askRoom */
inline askRoom() {
  room();
  if
  :: tail - seen < SLOTS
  :: else ->
#ifdef MUTANT_SPACE_STORED
     store(SPACE(me), 1);
#else
     swap(SPACE(me), 1, w); w = 0;
#endif
#ifndef MUTANT_NO_LOOK_AFTER_WANTING_SPACE
     room()
#endif
  fi
}

/* consumer.ready */
#ifdef MUTANT_TURN_WITHOUT_LAP
#define look() ready = (load(TURN(other_side, next)) != 0)
#else
#define look() ready = (load(TURN(other_side, next)) == next + 1)
#endif

/* consumer.pop */
inline pop() {
  look();
  if
  :: ready ->
     assert(load(BODY(other_side, next)) == next + 1);   /* neither torn nor another's */
     atomic { next++; took[me] = next; ready = 0 }
  :: else -> break
  fi
}

/* consumer.advance, and the wake-up when the producer waits for room. */
inline advance() {
  if
  :: stated == next
  :: else ->
     stated = next;
#ifdef MUTANT_HEAD_STORED
     store(HEAD(other_side), next);
#else
     swap(HEAD(other_side), next, w); w = 0;
#endif
     w = load(SPACE(other_side));
     if
     :: w == 0
     :: else ->
        swap(SPACE(other_side), 0, w);
        if
        :: w == 0
        :: else -> w = 0; wakeOther()
        fi
     fi
  fi
}

/* Arm the wake word, and look again at everything that could have come before:
 * ready says that something has. */
inline arm(how) {
#ifdef MUTANT_WAKE_STORED
  store(WAKE(other_side), how);
#else
  swap(WAKE(other_side), how, w); w = 0;
#endif
#ifdef MUTANT_NO_LOOK_AFTER_ARMING
  ready = 0
#else
  look();
  if
  :: !ready && tail < mine -> askRoom(); ready = tail - seen < SLOTS
  :: else
  fi
#endif
}

proctype Side(byte me; byte mine; byte theirs) {
  byte tail, seen, next, stated, w;
  bit ready, early;
  do
  :: tail == mine && next == theirs -> break
  :: else ->
     /* link.pump */
#ifdef MUTANT_HEAD_BEFORE_COPY
     look();
     if
     :: ready -> swap(HEAD(other_side), next + 1, w); w = 0; stated = next + 1
     :: else
     fi;
#endif
     do
     :: pop()
     :: next > stated -> break                 /* the end of a batch */
     od;
     advance();
     /* link.send */
     if
     :: tail < mine ->
        askRoom();
#ifdef MUTANT_NO_ROOM_ASKED
        push()
#else
        if
        :: tail - seen < SLOTS -> push()
        :: else
        fi
#endif
     :: else
     fi;
     if
     :: tail == mine && next == theirs -> break
     :: else
     fi;
     if
     :: /* link.nap */
        arm(ASLEEP);
        if
        :: ready -> ready = 0
        :: else ->
           atomic { if :: load(WAKE(other_side)) == ASLEEP -> parked[me] = 1 :: else fi };
           if
           :: !parked[me]
           :: atomic { !early -> early = 1; parked[me] = 0 }  /* the time is over */
           fi
        fi;
        swap(WAKE(other_side), AWAKE, w); w = 0
     :: /* link.leaveArmed, and the goroutine that reads the stream */
        arm(DOORBELL);
        if
        :: ready -> ready = 0
        :: else ->
#ifdef MUTANT_ONLY_DOORBELLS_LOOK
           do
           :: stream[me]?other
           :: stream[me]?bell -> break
           od
#else
           stream[me]?_
#endif
        fi;
        /* consumer.rise */
        w = load(WAKE(other_side));
        if
        :: w == AWAKE
        :: else -> swap(WAKE(other_side), AWAKE, w)
        fi;
        w = 0
     fi
  od;
  assert(tail == mine && next == theirs)
}

init {
  atomic {
    mem[WAKE(0)] = DOORBELL; mem[WAKE(1)] = DOORBELL;   /* newLink */
    run Side(0, UP, DOWN);
    run Side(1, DOWN, UP)
  }
}

ltl delivered { <> (took[0] == DOWN && took[1] == UP) }
