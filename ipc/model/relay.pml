/* Two sessions of the engine joined into one between two companions (relay.go, open.go):
 * open, answer, join; two flows; credits, memory and the wish for it; the end from either
 * side; the death of either link at any step.
 *
 * Companion 0 opens, companion 1 answers; each sends N messages and closes in one of
 * three manners. What holds a link's mutex is one step. Runner is
 * whoever runs a flow: `pending` is a run that was called for and has not begun; two of
 * them are no more than one, for it will see all that was there before. Who finds the
 * flow running leaves a note.
 *
 * Held to be true: what a companion sent before its close arrives once and in order
 * before the end does, as long as both links live and there is memory; each companion
 * that is alive sees the end; nothing is held, queued, wished for or taken afterwards
 * (assertions, no invalid end state).
 */
#ifdef MUTANT_ORPHAN_WAITS
#define VARIANT_CALLER
#endif
#ifdef MUTANT_ORPHAN_LEAVES_A_GAP
#define VARIANT_GAP
#endif
#ifdef VARIANT_GAP
#define N 3                      /* messages of companion 0 */
#define N1 0                     /* and of companion 1 */
#define W 2                      /* that one may have under way to the engine */
#else
#ifdef VARIANT_DEATHS
#define N 1
#else
#define N 2
#endif
#define N1 1
#define W 1
#endif

#define DONE 1                   /* codes of a close */
#define PEER 2
#define MEMORY 3

mtype = { open, opened, message, release, close };
chan down[2] = [4] of { mtype, byte };   /* the rings to the companions; a byte: the number, or the code */

/* The engine: a session with each companion. */
chan queue[2] = [N] of { byte };
byte credit[2], window[2], ended[2];     /* ended: the code, or 0 */
bit closed[2], accepted[2], joined[2], joining[2], gone[2]; /* joined: out and wakes are set; gone: link.err */
bit invited;                             /* companion 1 was asked */
byte size[2], unused[2];                 /* the incoming half: extents, and those without a message */
bit hungry[2], starving[2], barren[2], wish[2];

/* Its flows: flow d goes from d to 1-d. */
bit pending[2], running[2], again[2], over[2];
byte held[2];

/* The companions. */
bit dead[2], finished[2];
byte sent[2], got[2], manner[2];
#define WAITS   0                /* closes when it has everything, or the end */
#define HURRIES 1                /* closes when it has sent everything */
#define CALLS   2                /* as if in a call: releases nothing before the end */
#define STAYS   3                /* until it dies */

#define total(s) ((s) == 0 -> N : N1)

/* flow.begin, sooner or later: runs flow d, or leaves a note for who runs it. */
inline stir(flow) { if :: running[flow] -> again[flow] = 1 :: else -> pending[flow] = 1 fi }

/* link.stir of s.out, and of s.wakes */
inline stirOut(s) { if :: joined[s] -> stir(s) :: else fi }
inline stirWakes(s) { if :: joined[s] -> stir(1-(s)) :: else fi }

inline empty_queue(s) { do :: nempty(queue[s]) -> queue[s]?_ :: empty(queue[s]) -> break od }

/* Session.close, by the engine. */
inline close_(s, why) {
  atomic {
    if
    :: closed[s]
    :: else ->
       closed[s] = 1;
       empty_queue(s);
       if :: !gone[s] && !dead[s] -> down[s]!close, why :: else fi;
       stirOut(s); stirWakes(s)
    fi
  }
}

/* link.fed */
inline fed(s) {
  if
  :: starving[s] ->
     starving[s] = 0;
#ifndef MUTANT_HUNGRY_NOT_CLEARED
     hungry[s] = 0;
#endif
     stir(1-(s))
  :: else
  fi
}

/* A message that is given back to its sender. */
inline unlease(s) { if :: !gone[s] && !dead[s] -> down[s]!release, 0 :: else fi }

/* Records of companion s, as the engine handles them. That they lie in a ring for a while
 * shows nothing new: what the engine sends meanwhile does so too. */
inline gotMessage(s, n) {
  if
  :: closed[s] -> unlease(s)
  :: !closed[s] && joined[s] -> queue[s]!n; stirOut(s)
#ifdef MUTANT_JOINING_NOT_MARKED
  :: !closed[s] && !joined[s] -> unlease(s)
#else
  :: !closed[s] && !joined[s] -> queue[s]!n
#endif
  fi
}

inline gotRelease(s) {
  unused[s]++; fed(s);
  if
  :: !closed[s] || !ended[s] ->
     credit[s]++; assert(credit[s] <= window[s]);
#ifndef MUTANT_STIR_FORGOTTEN_ON_CREDIT
     stirWakes(s)
#endif
  :: else
  fi
}

inline gotClose(s) { ended[s] = DONE; stirOut(s); stirWakes(s) }

/* The end of the stream of a companion that died (link.die), and takeDown. */
proctype Link(byte s) {
end:
  atomic { dead[s] ->
    gone[s] = 1;
    if :: !ended[s] -> ended[s] = PEER :: else fi;
    stirOut(s); stirWakes(s)
  };
  atomic { if :: ended[s] == PEER -> empty_queue(s) :: else fi }
}

/* member.connect */
proctype Bridge() {
  atomic { joining[0] = 1; joining[1] = 1; if :: !gone[1] && !dead[1] -> invited = 1; down[1]!open, 0 :: else fi };
  atomic { accepted[1] || ended[1] };
  if
  :: accepted[1] ->
     atomic { if :: !gone[0] && !dead[0] && !closed[0] -> down[0]!opened, 0; credit[0] = window[0] :: else fi };
     joined[0] = 1;
     joined[1] = 1;
#ifndef MUTANT_JOINED_AND_NOT_RUN
     d_step { stir(0); stir(1) }
#endif
  :: else -> close_(1, DONE); close_(0, PEER)
  fi
}

#define pointless(d) (closed[1-d] || ended[1-d] || gone[1-d])
#define orphaned(d) (gone[d] && ended[d] == PEER)

/* flow.drop */
inline drop(d) {
  atomic { held[d] = 0; unlease(d) }
}

/* flow.unclaim */
inline unclaim(d) {
  atomic {
    hungry[1-d] = 0;
#ifndef MUTANT_WISH_KEPT
    starving[1-d] = 0
#endif
  }
}

proctype Runner(byte d) {
  byte why;
end:
  do
  :: d_step { pending[d] && !running[d] -> pending[d] = 0; running[d] = 1 };
step:
     atomic {                    /* flow.step, flow.take */
       if
       :: over[d] -> goto rest
       :: !over[d] && held[d]
       :: !over[d] && !held[d] ->
          if
          :: nempty(queue[d]) -> queue[d]?held[d]
          :: empty(queue[d]) && closed[d] -> why = PEER; goto ended_
          :: empty(queue[d]) && !closed[d] && ended[d] -> why = ended[d]; goto ended_
          :: empty(queue[d]) && !closed[d] && !ended[d] -> goto rest
          fi
       fi
     };
     atomic {                    /* flow.forward, with the mutex of the destination */
       if
       :: pointless(d) -> goto waste
       :: !pointless(d) && barren[1-d] -> goto abandon
       :: !pointless(d) && !barren[1-d] && credit[1-d] == 0 -> goto blocked
       :: !pointless(d) && !barren[1-d] && credit[1-d] > 0 ->
          if
          :: unused[1-d] > 0 -> unused[1-d]--; credit[1-d]--
          :: unused[1-d] == 0 ->
             if :: !hungry[1-d] -> hungry[1-d] = 1; starving[1-d] = 1; wish[1-d] = 1 :: else fi;
             goto blocked
          fi
       fi
     };
     atomic {                    /* copied: sealed, posted */
       if :: !gone[1-d] && !dead[1-d] -> down[1-d]!message, held[d] :: else fi;
       drop(d)
     };
     goto step;
ended_:                          /* flow.end */
     over[d] = 1; close_(1-d, why); close_(d, DONE); goto rest;
blocked:
#ifndef MUTANT_ORPHAN_WAITS
     if
#ifdef MUTANT_ORPHAN_LEAVES_A_GAP
     :: orphaned(d) -> goto waste
#else
     :: orphaned(d) -> why = PEER; atomic { unclaim(d); drop(d) }; goto ended_
#endif
     :: else -> goto rest
     fi;
#else
     goto rest;
#endif
waste:
#ifdef MUTANT_HELD_NOT_RELEASED_ON_DEATH
     over[d] = 1; close_(d, PEER); close_(1-d, DONE); goto rest;
#endif
#ifdef MUTANT_END_OVERTAKES_MESSAGES
     unclaim(d); drop(d); over[d] = 1; close_(d, ended[1-d]); close_(1-d, DONE); goto rest;
#endif
     atomic { unclaim(d); drop(d) }; goto step;
abandon:
     atomic { unclaim(d); drop(d); over[d] = 1; close_(d, MEMORY) };
#ifdef MUTANT_LOSS_LOOKS_LIKE_THE_END
     close_(1-d, DONE);
#else
     close_(1-d, MEMORY);
#endif
rest:
     atomic {                    /* flow.finish */
       if
#ifdef MUTANT_AGAIN_NOT_READ
       :: again[d] -> again[d] = 0; running[d] = 0
#else
       :: again[d] -> again[d] = 0; goto step
#endif
       :: else -> running[d] = 0
       fi;
       why = 0
     }
  od
}

inline grow(s) {
  if
  :: size[s] == 0 -> size[s]++; unused[s]++; fed(s)
  :: size[s] == 0 && starving[s] ->
#ifndef MUTANT_WISH_KEPT
     starving[s] = 0;
#endif
     hungry[s] = 0; barren[s] = 1; stir(1-(s))   /* denied */
  :: size[s] > 0                                                                                      /* denied, and waits */
  fi
}

/* The engine's memory: an extent for who wishes, or none. */
proctype Memory() {
end:
  do
  :: atomic { wish[0] -> wish[0] = 0; grow(0) }
  :: atomic { wish[1] -> wish[1] = 0; grow(1) }
  od
}

/* Another session of companion 1, which has some of its memory now and then. */
proctype Neighbour() {
  atomic { unused[1]++; fed(1) };
end:
  atomic { unused[1] > 0 -> unused[1]-- };
  atomic { unused[1]++; fed(1) }
}

proctype Companion(byte s) {
  mtype kind; byte n, room, unread;
  bit open_, mine, theirs;       /* it may send; it has closed; it has seen the end */
  {
    if
    :: s == 0 -> run Bridge()
    :: s == 1
    fi;
end:
    do
    :: atomic { down[s]?kind, n ->
         if
         :: kind == open -> accepted[1] = 1; credit[1] = window[1]; open_ = 1; room = W
         :: kind == opened -> open_ = 1; room = W
         :: kind == message ->
            if
            :: !mine && !theirs -> got[s]++; assert(n == got[s])
            :: else              /* link.gotLate */
            fi;
            if :: manner[s] == CALLS && !theirs && !mine -> unread++ :: else -> gotRelease(s) fi
         :: kind == release -> room++; assert(room <= W)
         :: kind == close ->
            theirs = 1;
            assert(mine || n != DONE || got[s] == sent[1-s])
         fi;
         kind = 0; n = 0
       }
    :: atomic { unread > 0 && (theirs || mine) -> unread--; gotRelease(s) }
    :: atomic { open_ && !mine && !theirs && room > 0 && sent[s] < total(s) -> room--; sent[s]++; gotMessage(s, sent[s]) }
    :: atomic { !mine && (theirs || open_ && sent[s] == total(s) && (manner[s] == HURRIES || manner[s] == WAITS && got[s] == total(1-s))) ->
         mine = 1; gotClose(s) }
    :: d_step { mine && theirs && unread == 0 && !finished[s] -> finished[s] = 1 }
    od
  } unless { dead[s] };
  d_step { finished[s] = 1; do :: nempty(down[s]) -> down[s]?_, _ :: empty(down[s]) -> break od }
}

#ifdef VARIANT_DEATHS
#define DEATHS
#endif
#ifdef VARIANT_CALLER
#define DEATHS
#define ITS_DEATH
#endif
#ifdef VARIANT_GAP
#define DEATHS
#define ITS_DEATH
#endif
proctype Killer() {
#ifdef ITS_DEATH
  dead[0] = 1
#else
  if :: dead[0] = 1 :: dead[1] = 1 fi
#endif
}

init {
  atomic {
    size[0] = 1; unused[0] = 1; window[0] = 1; window[1] = 1;
#ifdef VARIANT_CALLER
    manner[0] = STAYS; manner[1] = CALLS; size[1] = 1; unused[1] = 1;
#else
#ifdef VARIANT_GAP
    manner[0] = STAYS; size[1] = 1; unused[1] = 1;
#else
#ifndef VARIANT_DEATHS
    if :: manner[0] = HURRIES :: manner[1] = HURRIES fi;        /* the other one waits */
#endif
    if                           /* what is scarce */
    :: size[1] = 1; unused[1] = 1                        /* credit */
#ifndef VARIANT_DEATHS
    :: skip                                              /* memory: there is none yet */
    :: size[1] = 1; window[1] = 2; run Neighbour()       /* memory */
#endif
    fi;
#endif
#endif
#ifdef DEATHS
    run Killer(); run Link(0); run Link(1);
#endif
    run Companion(0); run Companion(1); run Runner(0); run Runner(1); run Memory()
  };
  timeout;                       /* nothing can move any more */
  assert(finished[0] && (finished[1] || !invited));
  assert(!held[0] && !held[1] && empty(queue[0]) && empty(queue[1]));
  assert(!starving[0] && !starving[1] && !running[0] && !running[1]);
  assert((dead[0] || unused[0] == size[0]) && (dead[1] || unused[1] == size[1]));
  assert(closed[0] && closed[1] || dead[0])
}
