/* Who reads the ring, within one process (pump.go).
 *
 * Two goroutines wait for messages (record i is for goroutine i%2); whoever waits
 * becomes the leader if there is none. Beside them: the goroutine that answers
 * doorbells, and the timer of a hot lane. The other process only sends. Each step is
 * one atomic operation, or what the link's mutex makes one.
 *
 * Held to be true: there is one reader at a time (assertions), every goroutine
 * gets what is for it (no invalid end state, and the formula served).
 */
#ifndef N
#define N 2
#endif
#define AWAKE    0
#define ASLEEP   1
#define DOORBELL 2

byte tail, next;                 /* published; read by the leader */
byte wake = DOORBELL;
bit parked;                      /* the leader sleeps in the kernel */
chan bell = [N] of { bit };

bit leader, rung, watched;       /* link.leader, rung, watched */
bit timer;                       /* it will fire */
byte inside;                     /* how many read the ring */
byte got[2], seen[2];
bit told[2];                     /* a token in the channel of the goroutine */
byte waiters;                    /* link.waiters: goroutines in await */
bit self;                        /* the leader is one of them */
bit early;                       /* a sleep has ended by itself */

#define ready (tail > next)

inline takeLead(ok) { d_step { ok = !leader; leader = 1 } }

inline unlead() { d_step { self = 0; leader = 0 } }

/* consumer.rise leaves the exchange out when the word is that already; nobody else
 * makes it anything else. */
inline rise() { wake = AWAKE }

/* link.notifyOne: the leader looks for itself. */
#ifdef MUTANT_ONE_OTHER_NOT_TOLD
#define others (waiters > 1 + self)
#else
#define others (waiters > self)
#endif

inline pump() {
  d_step { inside++; assert(inside == 1) };
  do
  :: d_step { ready -> got[next % 2]++; if :: others -> told[next % 2] = 1 :: else fi; next++ }
  :: d_step { !ready -> inside-- }; break
  od
}

inline leaveArmed() {
  do
  :: wake = DOORBELL;
#ifdef MUTANT_NO_LOOK_AFTER_ARMING
     if
     :: false
#else
     if
     :: ready -> wake = AWAKE; pump()
#endif
     :: else ->
        unlead();
#ifdef MUTANT_NO_NOTE_READ
        break
#else
        if
        :: !rung -> break
        :: else ->
           takeLead(ok);
           if :: ok -> ok = 0; rung = 0 :: else -> break fi
        fi
#endif
     fi
  od
}

inline watch() {                 /* link.keepWatch: the timer is set by who set watched */
  d_step { if :: !watched -> watched = 1; timer = 1 :: else fi }
}

inline leave() {
  if
  :: leaveArmed()
  :: unlead();                   /* hot */
#ifndef MUTANT_HOT_AND_UNWATCHED
     watch()
#endif
  fi
}

proctype Waiter(byte me; byte total) {
  bit ok;
  do
  :: seen[me] == total -> break
  :: seen[me] < total && got[me] > seen[me] -> goto served
  :: d_step { seen[me] < total && got[me] == seen[me] -> waiters++ };         /* link.await */
again:
     takeLead(ok);
     if
     :: ok ->                    /* link.lead */
        d_step { ok = 0; self = 1 };
        rise();
        do
        :: pump();
           if
           :: got[me] > seen[me] -> leave(); goto enough
           :: else
           fi;
           if
           :: ready              /* more than a batch */
           :: !ready ->
              /* link.nap */
              wake = ASLEEP;
#ifdef MUTANT_NO_LOOK_BEFORE_SLEEP
              if
              :: false
#else
              if
              :: ready -> wake = AWAKE
#endif
              :: else ->
                 d_step { if :: wake == ASLEEP -> parked = 1 :: else fi };
                 if
                 :: !parked -> wake = AWAKE
                 :: d_step { parked && !early -> early = 1; parked = 0 };    /* too long */
                    wake = AWAKE; leaveArmed(); break
                 fi
              fi
           :: !ready -> leaveArmed(); break             /* it can't sleep so */
           fi
        od
     :: else
     fi;
#ifndef MUTANT_NO_CHECK_AFTER_TRYING
     if
     :: got[me] > seen[me] -> goto enough
     :: else
     fi;
#else
     skip;
#endif
     d_step { told[me] -> told[me] = 0 };
     goto again;
enough:
     atomic { waiters--; seen[me]++ };
     goto next_one;
served:
     seen[me]++;
next_one:
     skip
  od
}

active proctype Reader() {       /* link.answer */
  bit ok;
end:
  do
  :: bell?_ ->
#ifdef MUTANT_NOTE_AFTER_TRYING
     takeLead(ok);
     rung = 1;
#else
     rung = 1;
     takeLead(ok);
#endif
     if
     :: d_step { ok -> ok = 0; rung = 0 }; rise(); pump(); leaveArmed()
     :: else
     fi
  od
}

active proctype Timer() {        /* link.look */
  bit ok;
  byte last;
end:
  do
  :: d_step { timer -> timer = 0 };
     takeLead(ok);
     if
     :: ok ->
        ok = 0;
        pump();
        if
        :: next != last -> last = next; unlead(); timer = 1
        :: else ->
           watched = 0;
           leaveArmed()
        fi
     :: else ->
        watched = 0;
        if
        :: !leader -> watch()
        :: else
        fi
     fi
  od
}

active proctype Producer() {
  byte w;
  do
  :: tail == N -> break
  :: tail < N ->
     tail++;
     if
     :: wake == AWAKE
     :: else ->
        d_step { w = wake; wake = AWAKE };
        if
        :: w == ASLEEP -> parked = 0
        :: w == DOORBELL -> bell!1
        :: w == AWAKE
        fi
     fi
  od
}

init {
  atomic { run Waiter(0, (N+1)/2); run Waiter(1, N/2) };
  seen[0] == (N+1)/2 && seen[1] == N/2
}

ltl served { <> (seen[0] == (N+1)/2 && seen[1] == N/2) }
