/* Releases that wait for company (release.go), and the timer that fetches them.
 *
 * Goroutines release messages; a leader comes and goes, hot or armed; the timer of a
 * hot lane fires. Owing and settling happen under the link's mutex, so each is one
 * step; leader, owing and watched are words of their own.
 *
 * Held to be true: in the end everything released was posted, although the leader
 * may never come back (no invalid end state, and the formula posted).
 */
#define RELEASERS 2
#define EACH 2
#define ROUNDS 2                 /* how often somebody leads */
#define ALL (RELEASERS * EACH)

byte debts, sent;                /* debts.n; releases that were posted */
bit leader, owing, watched;
bit timer;                       /* it will fire */

inline settleLocked() { sent = sent + debts; debts = 0; owing = 0 }

/* link.settle: looks at owing without the mutex. */
inline settle() {
  if
  :: owing -> atomic { settleLocked() }
  :: !owing
  fi
}

/* link.keepWatch: a look, then the exchange; who made it sets the timer. */
inline keepWatch() {
  if
  :: watched
  :: !watched -> atomic { if :: !watched -> watched = 1; timer = 1 :: else fi }
  fi
}

proctype Releaser() {
  byte n;
  bit watch;
  do
  :: n == EACH -> break
  :: n < EACH ->
     atomic {                    /* link.owe, with mu held */
       debts++; n++;
       if
       :: leader -> settleLocked()                    /* it may be asleep already */
       :: !leader && debts >= 3 -> settleLocked()     /* the record is full */
       :: else -> watch = 1; if :: debts == 1 -> owing = 1 :: else fi
       fi
     };
     if
     :: watch -> watch = 0;
#ifndef MUTANT_OWED_UNWATCHED
        keepWatch()
#endif
     :: else
     fi
  od
}

/* link.lead, from taking the lead to leaving it. */
proctype Leader() {
  byte n;
end:
  do
  :: n < ROUNDS && !leader ->
     atomic { if :: !leader -> leader = 1; n++ :: else -> goto end fi };
     if
     :: settle()                 /* it ran out of records */
     :: skip                     /* it has what it came for */
     fi;
     if
     :: leader = 0; keepWatch()  /* hot */
     :: leader = 0               /* armed */
     fi
  od
}

proctype Timer() {               /* link.look */
  bit ok, busy;
end:
  do
  :: atomic { timer -> timer = 0 };
     settle();
     atomic { ok = !leader; leader = 1 };
     if
     :: ok ->
        if
        :: atomic { !busy -> busy = 1 }; leader = 0; timer = 1          /* records came: once more */
        :: watched = 0; leader = 0;
#ifndef MUTANT_OWED_FORGOTTEN_BY_THE_TIMER
           if :: owing -> keepWatch() :: !owing fi
#endif
        fi
     :: !ok ->
#ifdef MUTANT_LOOKED_BEFORE_UNWATCHED
        if
        :: !leader || owing -> watched = 0; keepWatch()
        :: else -> watched = 0
        fi
#else
        watched = 0;
        if
        :: !leader -> keepWatch()
        :: leader -> if :: owing -> keepWatch() :: !owing fi
        fi
#endif
     fi
  od
}

init {
  atomic { run Releaser(); run Releaser(); run Leader(); run Timer() };
  sent == ALL;
  assert(debts == 0)
}

ltl posted { <> (sent == ALL) }
