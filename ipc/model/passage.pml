/* A whole segment on its way from companion 0 to companion 1, and a message behind it
 * (relay.go, whole.go, dispatch.go): sealed by a goroutine of its own, or at once between
 * those who trust each other; sent as a record and a frame, which companion 1 may read in
 * either order; released; and the end of the session from either side, or the death of
 * either link, at any step.
 *
 * The flow has taken the message with the segment (held) before this begins. What holds
 * a mutex is one step. Records and control frames to companion 1 lie in two channels; what
 * it answers is handled at once.
 *
 * Held to be true: nobody drops a segment that is being sealed; it is sent once, and handed
 * to the receiver when that has mapped it, before what was sent after it; in the end it is
 * closed, unmapped and on nobody's account, and the flow has come to its end (assertions,
 * no invalid end state).
 */
mtype = { whole, next, close };

chan ring = [3] of { mtype };    /* to companion 1 */
chan frames = [1] of { bit };    /* to companion 1: the segment */

byte held = 1;                   /* flow.held: nothing, the segment, the message behind it */
bit second = 1;                  /* which waits until then */
bit open_ = 1;                   /* the engine has the segment */
bit owner = 1;                   /* foreign.dropped is set: its account is companion 0's */
short account[2];                /* what is on them because of the segment */
bit trusted, sealing, through, failed;
bit listed;                      /* in link.passages */
byte credit, posted;
bit ended[2], closed[2], gone[2], dead[2], left[2];   /* left: Engine.leave */
bit orphan;                      /* companion 0 has died without closing */
bit over, pending = 1, running, again;

/* Companion 1: has it mapped, reads it; what has been handed to its session; has closed;
 * waits for the segment or the end before it does. */
bit maps, leased, shut, patient;
bit gotWhole, gotNext, gotClose;
chan parked = [3] of { mtype };  /* session.parked */

#ifdef MUTANT_PASSAGE_DOUBLE_POST
inline stir() { pending = 1 }    /* nobody looks whether it runs */
#else
inline stir() { if :: running -> again = 1 :: else -> pending = 1 fi }
#endif

/* foreign.leases, dropForeign */
inline drop() {
  d_step {
    if
    :: held == 1 ->
       open_ = 0;
       if :: owner && !left[0] -> account[0]-- :: else fi
    :: else
    fi;
    held = 0; sealing = 0
  }
}

inline close_(s) {
  atomic {
    if
    :: !closed[s] ->
       closed[s] = 1;
       if :: s == 1 && !gone[1] -> ring!close :: else fi;
       stir()
    :: else
    fi
  }
}

/* flow.freeze */
proctype Seal() {
  assert(held == 1 && open_);
  if
  :: skip
  :: failed = 1                  /* the sender kept it mapped, and is dropped */
  fi;
  assert(held == 1 && open_);
  d_step {
    through = 1;
#ifndef MUTANT_SEALED_NOT_STIRRED
    stir()
#endif
  }
}

#define pointless (closed[1] || ended[1] || gone[1])

proctype Runner() {
end:
  do
  :: d_step { pending -> pending = 0; running = 1 };
step:
     if
     :: over -> goto rest
     :: !over && !held ->        /* flow.take, and flow.end */
        if
        :: second -> second = 0; held = 2
        :: !second && (ended[0] || closed[0]) -> over = 1; close_(1); close_(0); goto rest
        :: else -> goto rest
        fi
     :: !over && held
     fi;
     if
     :: held == 2 -> goto forward
     :: else
     fi;
     atomic {                    /* flow.passWhole */
       if
       :: !sealing ->
          sealing = 1; through = 0;
          if :: trusted -> through = 1 :: else -> run Seal() fi
       :: else
       fi
     };
     if
#ifdef MUTANT_DROPPED_WHILE_SEALED
     :: !through && pointless -> goto waste
     :: !through && !pointless -> goto rest
#else
     :: !through -> goto rest
#endif
     :: through && failed -> goto abandon
     :: through && !failed
     fi;
     atomic {                    /* flow.postHeld */
       if
       :: pointless -> goto waste
       :: !pointless && !credit ->
          if :: orphan -> goto abandon :: else -> goto rest fi
       :: else
       fi;
       credit--; posted++;
       assert(posted == 1);
#ifndef MUTANT_LISTED_LATE
       listed = 1;
#endif
#ifndef MUTANT_BOOKED_LATE
       if :: !left[1] -> account[1]++ :: else fi;       /* link.receive */
#endif
       ring!whole;
       frames!1
     };
#ifdef MUTANT_LISTED_LATE
     listed = 1;
#endif
#ifdef MUTANT_BOOKED_LATE
     d_step { if :: !left[1] -> account[1]++ :: else fi };
#endif
#ifndef MUTANT_ACCOUNT_KEPT
     owner = 0;                  /* flow.refundSender */
#endif
     d_step { if :: !left[0] -> account[0]-- :: else fi };
     drop();
     goto step;
forward:
     atomic {
       if
       :: pointless -> goto waste
       :: !pointless && !credit ->
          if :: orphan -> goto abandon :: else -> goto rest fi
       :: else
       fi;
       credit--;
       ring!next
     };
waste:
     drop(); goto step;
abandon:
     drop(); over = 1; close_(0); close_(1);
rest:
     atomic {                    /* flow.finish */
       if
       :: again -> again = 0; goto step
       :: else -> running = 0
       fi
     }
  od
}

/* link.handle in companion 1 */
inline handle(kind) {
  if
  :: kind == whole ->
     assert(maps && !leased && !gotNext && !gotClose);
     gotWhole = 1; leased = 1
  :: kind == next -> assert(gotWhole && !gotClose); gotNext = 1
  :: kind == close -> assert(gotWhole || !posted); gotClose = 1
  fi
}

proctype Receiver() {
  mtype kind;
  {
end:
    do
    :: atomic { ring?kind ->
         if
#ifdef MUTANT_NOT_PARKED
         :: false
#else
         :: kind == whole && !maps -> parked!kind
#endif
#ifdef MUTANT_PARKED_OVERTAKEN
         :: false
#else
         :: kind != whole && len(parked) > 0 -> parked!kind
#endif
         :: else -> handle(kind)
         fi
       }
    :: atomic { frames?_ ->
         maps = 1;
#ifndef MUTANT_PARKED_FORGOTTEN
         do
         :: len(parked) > 0 -> parked?kind; handle(kind)
         :: len(parked) == 0 -> break
         od
#endif
       }
    :: atomic { leased ->        /* released: link.returned */
         leased = 0; maps = 0;
         assert(listed);
         listed = 0;
         if :: !left[1] -> account[1]--; assert(account[1] >= 0) :: else fi;
         credit++; stir()
       }
    :: d_step { !shut && (!patient || gotWhole || gotClose) -> shut = 1; ended[1] = 1; stir() }
    od
  } unless { dead[1] };
  d_step { maps = 0; leased = 0 }
}

/* A link that dies: link.die, then Engine.leave with what is on the account. */
proctype Link(byte s) {
  atomic {
    if :: s == 0 && !ended[0] -> orphan = 1 :: else fi;
    dead[s] = 1; gone[s] = 1; ended[s] = 1; stir()
  };
  atomic { left[s] = 1; account[s] = 0 }
}

proctype Credit() {
  if
  :: d_step { !credit && !posted -> credit = 2; stir() }    /* they come at last */
  :: else
  fi
}

proctype Sender() {
end:
  if
  :: d_step { ended[0] = 1; stir() }             /* it closes, when it likes */
  fi
}

init {
  atomic {
    account[0] = 1;
    if :: patient = 1 :: skip fi;
    if :: trusted = 1 :: skip fi;
    if :: credit = 2 :: skip fi;
    if
    :: run Link(0)
    :: run Link(1)
    :: skip
    fi;
    run Runner(); run Runner(); run Receiver(); run Credit(); run Sender()
  };
  timeout;                       /* nothing can move any more */
  assert(!running && !pending);
  assert(!held && !open_ && over);
  assert(account[0] == 0 && account[1] == 0);
  assert(!maps && (gone[1] || !listed))
}
