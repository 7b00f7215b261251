/* Who takes a lane down (link.go, pump.go): the memory goes when nobody looks at it
 * any more, although a leader may be asleep in it, and not before.
 *
 * Two goroutines lead now and then, and yield while they sleep in the kernel; one
 * sends, one wakes the leader. The goroutine that read the end of the control stream
 * takes the lead for good, from a leader that yields if need be, handles what is
 * left, and gives the lane up. Each step is one atomic operation, or what a mutex
 * makes one.
 *
 * Held to be true: one reader at a time; nobody touches a lane that is unmapped; it
 * is unmapped, once, and everybody gets to his end.
 */
#define LEADERLESS 0
#define LEADING    1
#define YIELDING   2

byte leader = LEADERLESS;        /* link.leader */
byte users = 1;                  /* link.users */
bit ending;                      /* link.ending */
bit over;                        /* link.err != nil: guarded by mu */
bit gone;                        /* link.gone: guarded by txMu */
bit mu, txMu;
byte closed;                     /* how often the lane was unmapped */
byte inside;                     /* how many read the ring */
byte ended;

inline lock(m) { d_step { m == 0 -> m = 1 } }
inline unlock(m) { m = 0 }
inline touch() { assert(closed == 0) }

inline takeLead(ok) {
  d_step { ok = (leader == LEADERLESS); if :: ok -> leader = LEADING :: else fi }
}

inline leaveLane() {
  d_step { users--; if :: users == 0 -> closed++; assert(closed == 1 && inside == 0) :: else fi }
}

/* link.regain */
inline regain(ok) {
#ifdef MUTANT_REGAINED_WITHOUT_LOOKING
  d_step { leader = LEADING; ok = 1 };
#else
  d_step { ok = (leader == YIELDING); if :: ok -> leader = LEADING :: else fi };
#endif
  if :: ok :: else -> leaveLane() fi
}

/* link.depose: the lane has a user more before the lead can be lost. */
inline depose(ok) {
#ifdef MUTANT_DEPOSED_AND_COUNTED_LATER
  d_step { ok = (leader == YIELDING); if :: ok -> leader = LEADING :: else fi };
  if :: ok -> users++ :: else fi
#else
#ifndef MUTANT_DEPOSED_AND_NOT_COUNTED
  users++;
#endif
#ifdef MUTANT_DEPOSED_WHILE_IT_READS
  d_step { ok = (leader != LEADERLESS); if :: ok -> leader = LEADING :: else fi };
#else
  d_step { ok = (leader == YIELDING); if :: ok -> leader = LEADING :: else fi };
#endif
#ifndef MUTANT_DEPOSED_AND_NOT_COUNTED
  if :: ok :: else -> users-- fi
#endif
#endif
}

inline pump() {
  d_step { inside++; assert(inside == 1) };
  touch();
  inside--
}

proctype Leader() {              /* link.await */
  bit ok;
  do
  :: over -> break
  :: !over ->
     takeLead(ok);
     if
     :: ok ->                    /* link.lead */
        do
        :: pump();
           if
           :: leader = LEADERLESS; break                 /* link.leave */
           :: touch();           /* the word wake, before it sleeps */
              leader = YIELDING;
              touch();           /* it sleeps in the lane's memory */
#ifdef MUTANT_READS_BEFORE_IT_KNOWS
              pump();
#endif
              regain(ok);
              if
              :: ok -> touch()   /* wake is awake again */
              :: else -> break
              fi
           fi
        od
     :: else
     fi
  od;
  ended++
}

active proctype Sender() {       /* link.post, link.send */
  do
  :: lock(txMu);
     if
     :: gone -> unlock(txMu); break
     :: else -> touch(); unlock(txMu)
     fi
  od;
  ended++
}

active proctype Shaker() {       /* link.notify: shake with mu held */
  do
  :: lock(mu);
     if
     :: over -> unlock(mu); break
     :: else -> touch(); unlock(mu)
     fi
  od;
  ended++
}

active proctype Taker() {        /* link.lastWords, fail, takeDown */
  bit ok;
  ending = 1;
  do
  :: takeLead(ok);
     if :: ok -> break :: else fi;
     depose(ok);
     if :: ok -> break :: else fi
     /* link.vacant or a millisecond */
  od;
  pump();
#ifndef MUTANT_DEAD_AFTERWARDS
  lock(mu); over = 1; unlock(mu);
#endif
#ifndef MUTANT_GONE_AFTERWARDS
  lock(txMu); gone = 1; unlock(txMu);
#endif
#ifdef MUTANT_LEAD_GIVEN_BACK
  leader = LEADERLESS;
#endif
  lock(mu); leaveLane(); unlock(mu);
#ifdef MUTANT_DEAD_AFTERWARDS
  lock(mu); over = 1; unlock(mu);
#endif
#ifdef MUTANT_GONE_AFTERWARDS
  lock(txMu); gone = 1; unlock(txMu);
#endif
  ended++
}

init {
  atomic { run Leader(); run Leader() };
  ended == 5 && closed == 1
}
