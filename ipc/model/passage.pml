/* A whole segment on its way from companion 0 to companion 1 (whole.go, retain.go): sealed
 * and handed over by a goroutine of its own, mapped, announced when there is a credit,
 * released; and the end of the session from either side, or the death of either link,
 * at any step.
 *
 * The flow has taken the message with the segment (held) before this begins. What holds
 * a mutex is one step. Control frames to companion 1 and records to it lie in two
 * channels; what it answers is handled at once.
 *
 * Held to be true: the goroutine never works on a segment that is gone; the segment is
 * announced once, to who has mapped it; in the end it is closed, unmapped and on
 * nobody's account, and the flow has come to its end (assertions, no invalid end state).
 */
#define SEALING 0
#define MAPPED  1
#define POSTED  2
#define FAILED  3

mtype = { extent, forget };
chan frames = [2] of { mtype };  /* to companion 1 */
chan ring = [2] of { bit };      /* to companion 1: message */

bit held = 1, open_ = 1;         /* flow.held; the engine has the segment */
bit owner = 1;                   /* foreign.dropped is set: its account is companion 0's */
short account[2];                /* what is on them because of the segment */
bit passage, listed, passed;     /* flow.passage; in link.passages; passage.passed */
byte state;
byte credit, posted;
bit ended[2], closed[2], gone[2], dead[2], left[2];   /* left: Engine.leave */
bit orphan;                      /* companion 0 has died without closing */
bit over, pending = 1, running, again;
bit maps, leased, shut, patient; /* companion 1: has it mapped, reads it, has closed; it waits for the segment or the end */

#ifdef MUTANT_PASSAGE_DOUBLE_POST
inline stir() { pending = 1 }    /* nobody looks whether it runs */
#else
inline stir() { if :: running -> again = 1 :: else -> pending = 1 fi }
#endif

/* foreign.leases, dropForeign */
inline drop() {
  d_step {
    held = 0; open_ = 0;
    if :: owner && !left[0] -> account[0]-- :: else fi
  }
}

inline close_(s) { d_step { if :: !closed[s] -> closed[s] = 1; stir() :: else fi } }

/* flow.pass */
proctype Pass() {
  bit sealed;
  assert(held && open_);         /* Freeze */
  if
  :: sealed = 1
  :: state = FAILED              /* the sender kept it mapped, and is dropped */
  fi;
  if
  :: sealed ->
#ifndef MUTANT_ACCOUNT_KEPT
     owner = 0;
#endif
     d_step {                    /* Engine.transfer */
       if :: !left[0] -> account[0]-- :: else fi;
       if :: !left[1] -> account[1]++ :: else fi
     };
     listed = 1;
     assert(held && open_);      /* its handle is sent */
     atomic { if :: gone[1] -> state = FAILED :: !gone[1] && !dead[1] -> frames!extent :: !gone[1] && dead[1] fi }
  :: else
  fi;
  d_step {
    passed = 1;
#ifndef MUTANT_PASSED_NOT_STIRRED
    stir()
#endif
  }
}

/* member.takeBack */
inline takeBack() {
  atomic {
    if
    :: listed ->
       listed = 0;
       if :: !left[1] -> account[1]-- :: else fi;
#ifndef MUTANT_FORGET_UNSAID
       if :: !gone[1] && !dead[1] -> frames!forget :: else fi
#endif
    :: else
    fi
  }
}

#define pointless (closed[1] || ended[1] || gone[1] || orphan)
#ifdef MUTANT_DROPPED_WHILE_SEALED
#define busy (passage && !passed && !pointless)
#else
#define busy (passage && !passed)
#endif

proctype Runner() {
end:
  do
  :: d_step { pending -> pending = 0; running = 1 };
step:
     if
     :: over -> goto rest
     :: !over && !held ->        /* flow.take, and flow.end */
        if
        :: ended[0] || closed[0] -> over = 1; close_(1); close_(0); goto rest
        :: else -> goto rest
        fi
     :: !over && held
     fi;
     atomic {                    /* flow.passWhole */
       if
       :: !passage && !pointless -> passage = 1; state = SEALING; passed = 0; run Pass()
       :: else
       fi;
       if
       :: busy -> goto rest
       :: !busy && passage && state == FAILED -> passage = 0; goto abandon
       :: !busy && pointless && !(passage && state == FAILED) -> goto waste
       :: !busy && !pointless && state != FAILED && (state != MAPPED || !credit) -> goto rest
       :: !busy && !pointless && state == MAPPED && credit
       fi
     };
     atomic {
       assert(state == MAPPED);
       credit--; state = POSTED; posted++;
       assert(posted == 1);
       if :: !dead[1] -> ring!1 :: else fi
     };
     passage = 0;
     drop();
     goto step;
waste:
#ifndef MUTANT_NOT_TAKEN_BACK
     if
     :: passage -> passage = 0; takeBack()
     :: else
     fi;
#endif
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

/* Companion 1. */
proctype Receiver() {
  mtype kind;
  {
end:
    do
    :: atomic { frames?kind ->
         if
         :: kind == extent ->
            maps = 1;            /* and says so: link.arrived */
            if
            :: listed && state == SEALING -> state = MAPPED;
#ifndef MUTANT_MAPPED_NOT_STIRRED
               stir()
#endif
            :: else
            fi
         :: kind == forget -> assert(maps && !leased); maps = 0
         fi
       }
    :: atomic { ring?_ -> assert(maps); leased = 1 }
    :: atomic { leased ->        /* released: link.returned */
         leased = 0; maps = 0;
         assert(listed && state == POSTED);
         listed = 0;
         if :: !left[1] -> account[1]-- :: else fi
       }
    :: d_step { !shut && (!patient || posted || closed[1]) -> shut = 1; ended[1] = 1; stir() }
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
  :: d_step { !credit -> credit = 1; stir() }    /* it comes at last */
  :: credit
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
    if :: credit = 1 :: skip fi;
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
