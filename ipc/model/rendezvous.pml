/* Registration: hello, waiting, welcome, extents, mapped, registered, and death at
 * any step.
 *
 * Two companions want the same name (or the last room in the budget) of one engine.
 * Each may be killed before any of its steps, and so may the engine. The engine's
 * goroutine of each follows member.run and Engine.enter; somebody else, who sees a
 * companion registered, writes into its lane and rings.
 *
 * Held to be true: who is shown is mapped, sealed and complete; one at a time holds
 * the name; after each end memory, budget, name and entry are back, once; who waits
 * gets an answer; an honest companion is never dropped; a record that came early is
 * found (assertions, no invalid end state, and the formula settled).
 */
#define C 2
#define NONE 255

mtype = { hello, waiting, refused, welcome, extent, mapped, registered, bell };
chan up[C] = [5] of { mtype, byte };    /* to the engine */
chan down[C] = [7] of { mtype, byte };  /* to the companion */

/* The engine. */
byte holder = NONE;            /* Engine.members, one name */
byte used;                     /* of the budget, which has room for one */
byte changed;                  /* Engine.changed */
bit shown;                     /* the entry of the directory */
byte generation, shownFor = NONE;
bit lane[C], out[C], in[C], kept[C]; /* segments that it has mapped; kept: in is in member.unmapped */
bit sealed[C], ready[C], over[C], cut[C];   /* cut: link.ctx has ended */
bit closed[C];                 /* its end of the stream */
bit engineDead;

/* The companions. */
bit dead[C], settled_[C];
byte maps[C];                  /* lane, outgoing, incoming */
bit wake[C], record[C], found[C];   /* the down ring: armed for a doorbell; a record */

#define opens(m) (lane[m] + out[m] + in[m])

/* A write fails when the other end is gone. */
inline tell(m, kind, n) {
  if
  :: !dead[m] -> down[m]!kind, n
  :: dead[m] -> goto fail
  fi
}

inline publish(me) {
  atomic {
    assert(dead[me] || maps[me] == 3);
    assert(sealed[me]);
    assert(!shown && holder == me);
    shown = 1; shownFor = me; generation++;
    assert(generation == told);        /* what welcome promised */
    run Retire(me, generation)
  }
}

/* directory.retire: runs when it likes after the link was cut, even when the entry is
 * another's by then. */
proctype Retire(byte me; byte mine) {
  if
  :: engineDead
  :: cut[me] ->
     atomic {
#ifdef MUTANT_ANOTHER_RETIRED
       if :: shown -> shown = 0 :: else fi
#else
       if :: shown && generation == mine -> shown = 0 :: else fi
#endif
     }
  fi
}

proctype Member(byte me) {
  byte seen, told, n, got;
  bit first = 1, complete;
  {
    /* member.hello */
    if
    :: up[me]?hello, _
    :: dead[me] -> goto ended
    fi;
    /* Engine.enter */
    do
    :: atomic {
         seen = changed;
         if
         :: holder == NONE ->
            holder = me; used++;
            assert(used <= 1);
            assert(opens(1-me) == 0);  /* what is mapped is on somebody's account */
            break
         :: else
         fi
       };
#ifdef MUTANT_CHANGE_MISSED
       seen = changed;
#endif
       if
       :: first -> first = 0;
          if :: atomic { !dead[me] -> down[me]!waiting, 0 } :: dead[me] -> goto ended fi
       :: else
       fi;
       if
       :: changed != seen
       :: dead[me] -> goto ended                                      /* member.lost */
       :: atomic { holder != NONE && !dead[me] -> down[me]!refused, 0 }; goto ended   /* patience */
       fi
    od;
    /* member.build */
    atomic {
      lane[me] = 1;
      told = generation + 1;
#ifdef MUTANT_SHOWN_BEFORE_MAPPED
      publish(me);
#endif
      tell(me, welcome, 0)
    };
    atomic { out[me] = 1; tell(me, extent, 1) };
    atomic { in[me] = 1; kept[me] = 1; tell(me, extent, 2) };
    /* member.awaitMapped */
    do
    :: got == 3 -> break
    :: got < 3 ->
       if
       :: up[me]?mapped, n -> atomic { got++; if :: n == 2 -> kept[me] = 0 :: else fi }
       :: dead[me] -> goto fail                                     /* end of the stream, or its process ended */
       fi
    od;
#ifndef MUTANT_SHOWN_BEFORE_MAPPED
    atomic { sealed[me] = 1; publish(me) };
#endif
    ready[me] = 1;
    atomic { tell(me, registered, 0); complete = 1 };
    /* link.serve */
    dead[me];
fail:
    atomic { ready[me] = 0; cut[me] = 1 };
#ifdef MUTANT_ROOM_BEFORE_MEMORY
    atomic { holder = NONE; used--; shown = 0; shownFor = NONE; changed++ };
#endif
    /* link.takeDown */
    atomic {
      lane[me] = 0; out[me] = 0;
      if :: !kept[me] -> in[me] = 0 :: else fi
    };
    closed[me] = 1;
#ifndef MUTANT_NOTHING_ABANDONED
    atomic { if :: kept[me] -> kept[me] = 0; in[me] = 0 :: else fi };
#endif
#ifndef MUTANT_ROOM_BEFORE_MEMORY
    /* Engine.leave */
    atomic {
      assert(holder == me);
      used--; holder = NONE;
#ifdef MUTANT_HALF_REGISTERED
      if :: complete -> shown = 0; shownFor = NONE :: else fi;      /* only who was told is taken off */
#else
      shown = 0; shownFor = NONE;
#endif
#ifndef MUTANT_NOBODY_TOLD
      changed++
#endif
    };
#endif
ended:
    atomic {
      closed[me] = 1; over[me] = 1;
      assert(opens(me) == 0 && shownFor != me && holder != me)
    }
  } unless { engineDead }
}

/* Somebody opens a session to a companion that is registered: link.post. */
proctype Opener(byte m) {
  {
    if
    :: ready[m] ->
       record[m] = 1;
       if
       :: atomic { wake[m] -> wake[m] = 0 };
          if
          :: atomic { nfull(down[m]) && !dead[m] -> down[m]!bell, 0 }
          :: dead[m]
          fi
       :: !wake[m]
       fi
    :: over[m]
    fi
  } unless { engineDead }
}

/* Client: Dial, then serve for a while, then Close. */
proctype Companion(byte me) {
  byte n;
  bit client;
  {
    up[me]!hello, 0;
    do
    :: down[me]?waiting, _
    :: down[me]?refused, _ -> goto gone
    :: down[me]?welcome, _ -> atomic { client = 1; maps[me]++; wake[me] = 1; up[me]!mapped, 0 }
    :: down[me]?extent, n -> atomic { maps[me]++; up[me]!mapped, n }
#ifdef MUTANT_EARLY_DOORBELL_REFUSED
    :: down[me]?bell, _ -> assert(false)                             /* Dial fails */
#else
    :: down[me]?bell, _
#endif
    :: down[me]?registered, _ -> break
    :: empty(down[me]) && (engineDead || closed[me]) -> assert(engineDead || !client); goto gone
    od;
    assert(maps[me] == 3);
    assert(engineDead || (shown && shownFor == me));
#ifndef MUTANT_EARLY_DOORBELL_FORGOTTEN
    if :: record[me] -> found[me] = 1 :: !record[me] fi;              /* the first look at the ring */
    wake[me] = 1;
    if :: record[me] -> found[me] = 1 :: !record[me] fi;
#endif
    /* it lives until it has found the record, or something ends it */
    do
    :: found[me] || me == 1 -> break     /* somebody opens to companion 0 only */
    :: down[me]?bell, _ -> if :: record[me] -> found[me] = 1 :: !record[me] fi
    :: engineDead -> break
    od;
gone:
    skip
  } unless { dead[me] };
  atomic { dead[me] = 1; maps[me] = 0; settled_[me] = 1 }              /* the kernel unmaps */
}

proctype Killer() {
#ifdef VARIANT_ENGINE_DIES
  if :: dead[0] = 1 :: skip fi;
  engineDead = 1
#else
  if :: dead[0] = 1 :: skip fi;
  if :: dead[1] = 1 :: skip fi
#endif
}

init {
  atomic {
    run Member(0); run Member(1);
    run Companion(0); run Companion(1);
    run Opener(0);
    run Killer()
  }
  settled_[0] && settled_[1] && (engineDead || (over[0] && over[1]));
  assert(engineDead || (used == 0 && holder == NONE && !shown));
  assert(maps[0] + maps[1] == 0)
}

ltl settled { <> (settled_[0] && settled_[1] && (engineDead || (over[0] && over[1]))) }
