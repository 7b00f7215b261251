/* Ownership of memory: allocate, send, read, release; deaths, and what follows them.
 *
 * Companion 0 sends from the outgoing half of its block, the engine copies each
 * message into the incoming half of companion 1 and sends it on (relay.go), companion
 * 1 reads and releases. Each half has 2 blocks and an owner of its own: companion 0,
 * and the engine. One of the companions may be killed at any step; another then takes its
 * slot, with a new lane and new extents whose generations begin again. Readers are
 * hostile: one of the two may repeat a release that it has made, whenever it likes.
 *
 * Held to be true: what is read is what was sent, to the end of the reading; nothing
 * that somebody reads or fills is given out again; memory is unmapped with the last
 * who looks at it and not before; in the end everything is back (assertions; no
 * invalid end state).
 */
#ifndef SENDS
#define SENDS 3                  /* allocations of companion 0; its successor makes one */
#endif
#define LIVES 2
#define NONE 255

#ifdef MUTANT_ONE_BIT_GENERATION
#define GEN(g) ((g) & 1)
#else
#define GEN(g) (g)
#endif

#define FREE 0                   /* memory.go */
#define HELD 1
#define SENT 2

/* Everything is counted by half and life; S is one extent, B one block of it. */
#define S(h, l)    (2*(h) + (l))
#define B(h, l, b) (4*(h) + 2*(l) + (b))

byte state[8], generation[8];    /* private to the owner */
byte content[8];                 /* the bytes: which allocation filled them */
byte reading[8], filling[8];     /* somebody does, right now */

#ifdef MUTANT_LANE_SURVIVES
#define LANE(h, l) S(h, 0)
#define SAME(a, b) 1
#else
#define LANE(h, l) S(h, l)
#define SAME(a, b) ((a) == (b))
#endif
chan lane[4] = [2] of { byte, byte, byte };  /* block, generation; the true generation */
chan back[4] = [4] of { byte, byte };        /* releases: block, generation */

byte life[2];
bit alive[2] = 1;                /* the companion */
bit linked[2] = 1;               /* the engine's link to it */
byte leases[2];                  /* the engine's messages in the extents of companion 0 */
byte parcels[2];                 /* the engine's parcels in the extents of companion 1 */
bit mapped[4] = 1;               /* in the engine */
bit hostile;                     /* which reader: 0 the engine, 1 companion 1 */

/* extent.take */
inline take(h, l, b) {
  if
  :: state[B(h,l,0)] == FREE -> b = 0
  :: state[B(h,l,0)] != FREE && state[B(h,l,1)] == FREE -> b = 1
  fi;
  assert(!reading[B(h,l,b)] && !filling[B(h,l,b)]);
  state[B(h,l,b)] = HELD;
  generation[B(h,l,b)]++
}

#define some(h, l) (state[B(h,l,0)] == FREE || state[B(h,l,1)] == FREE)

/* memory.give: everything in a release is a claim. */
inline give(h, l, b, g) {
  if
#ifndef MUTANT_NO_STATE_CHECK
  :: state[B(h,l,b)] != SENT                    /* refused */
#endif
#ifndef MUTANT_NO_GENERATION_CHECK
  :: g != GEN(generation[B(h,l,b)])             /* refused */
#endif
  :: else ->
     assert(state[B(h,l,b)] != FREE);           /* freed twice: the allocator is broken */
     state[B(h,l,b)] = FREE
  fi
}

/* link.dropForeign and link.dropExtent: with the last who looks at it. */
inline unmap(h, l, users) {
  if
#ifdef MUTANT_UNMAPPED_AT_DEATH
  :: !linked[h] || life[h] != l -> mapped[S(h,l)] = 0
#else
  :: (!linked[h] || life[h] != l) && users == 0 -> mapped[S(h,l)] = 0
#endif
  :: else
  fi
}

proctype Sender(byte l) {        /* companion 0 */
  byte b, g, n;
  {
    do
    :: atomic { n < SENDS - 2*l && some(0, l) -> take(0, l, b); filling[B(0,l,b)] = 1; n++ };
       atomic { content[B(0,l,b)] = generation[B(0,l,b)]; filling[B(0,l,b)] = 0 };
       if
       :: atomic { nfull(lane[LANE(0,l)]) -> state[B(0,l,b)] = SENT;                 /* sealLocked, push */
            lane[LANE(0,l)]!b, GEN(generation[B(0,l,b)]), generation[B(0,l,b)] }
       :: n == 1 -> state[B(0,l,b)] = FREE                                           /* Parcel.Release */
       fi
    :: atomic { back[LANE(0,l)]?b, g -> give(0, l, b, g) }
    :: n == SENDS - 2*l && state[B(0,l,0)] == FREE && state[B(0,l,1)] == FREE && empty(back[LANE(0,l)]) -> break
    od
  } unless { !alive[0] || life[0] != l };
  alive[0] = 0
}

proctype Receiver(byte l) {      /* companion 1 */
  byte b, g, t, old = NONE, oldg;
  bit again, owed;
  {
end:
    do
    :: atomic { lane[LANE(1,l)]?b, g, t -> reading[B(1,l,b)] = 1; assert(content[B(1,l,b)] == t) };
       atomic {
         assert(content[B(1,l,b)] == t);
         reading[B(1,l,b)] = 0; owed = 1
       };
       atomic {                                   /* link.owe: in company, some time later */
         owed = 0; back[LANE(1,l)]!b, g;
         if :: old == NONE && hostile == 1 -> old = b; oldg = g :: else fi
       }
    :: atomic { old != NONE && !again && hostile == 1 -> again = 1; back[LANE(1,l)]!old, oldg }      /* hostile */
    od
  } unless { !alive[1] || life[1] != l };
  atomic { reading[B(1,l,0)] = 0; reading[B(1,l,1)] = 0 }
}

/* relay.go: one flow, from companion 0 to companion 1. */
proctype Flow() {
  byte b, g, t, p, from, to, old = NONE, oldg, oldl;
  bit again;
end:
  do
  :: atomic { linked[0] && nempty(lane[LANE(0,life[0])]) ->
       from = life[0];
       lane[LANE(0,from)]?b, g, t;                                   /* fill, resolve */
       leases[from]++; reading[B(0,from,b)] = alive[0]
     };
     if
     :: atomic { linked[1] && some(1, life[1]) ->                      /* claim */
          to = life[1]; take(1, to, p);
          parcels[to]++; filling[B(1,to,p)] = 1
        };
        atomic {                                                                     /* copy */
          assert(mapped[S(0,from)] && content[B(0,from,b)] == t);
          assert(mapped[S(1,to)]); content[B(1,to,p)] = generation[B(1,to,p)]
        };
        atomic {
          assert(mapped[S(0,from)] && content[B(0,from,b)] == t);
          filling[B(1,to,p)] = 0; state[B(1,to,p)] = SENT; parcels[to]--;            /* sealLocked */
          if
          :: linked[1] && life[1] == to -> lane[LANE(1,to)]!p, GEN(generation[B(1,to,p)]), generation[B(1,to,p)]
          :: else -> unmap(1, to, parcels[to])
          fi
        }
     :: !linked[1]                                                     /* abandon */
     fi;
     atomic {                                                          /* link.release */
       reading[B(0,from,b)] = 0;
#ifndef MUTANT_LEASE_KEPT
       leases[from]--;
#endif
       if
       :: linked[0] && life[0] == from ->
          back[LANE(0,from)]!b, g;
          if :: old == NONE && hostile == 0 -> old = b; oldg = g; oldl = from :: else fi
       :: else -> unmap(0, from, leases[from])
       fi
     }
  :: atomic { old != NONE && !again && linked[0] && SAME(life[0], oldl) -> again = 1; back[LANE(0,life[0])]!old, oldg }                 /* hostile */
  od
}

/* link.gotRelease in the engine. */
proctype Returns() {
  byte b, g;
end:
  do
  :: atomic { linked[1] && nempty(back[LANE(1,life[1])]) -> back[LANE(1,life[1])]?b, g; give(1, life[1], b, g) }
  od
}

/* member.run to its end, and a successor in the same slot. */
proctype Member(byte h) {
end:
  do
  :: atomic { !alive[h] && linked[h] && (h == 1 || empty(lane[LANE(0,life[0])])) ->  /* lastWords */
       linked[h] = 0;
       if
       :: h == 0 -> unmap(0, life[0], leases[life[0]])
       :: h == 1 -> unmap(1, life[1], parcels[life[1]])
       fi
     };
     if
     :: life[h] + 1 < LIVES ->
        atomic {
          life[h]++; alive[h] = 1; linked[h] = 1;
          if :: h == 0 -> run Sender(life[0]) :: h == 1 -> run Receiver(life[1]) fi
        }
     :: else -> break
     fi
  od
}

proctype Killer() {
  if :: alive[0] = 0 :: alive[1] = 0 :: skip fi
}

#define idle(h, l) (state[B(h,l,0)] == FREE && state[B(h,l,1)] == FREE)

init {
  if :: hostile = 0 :: hostile = 1 fi;
  atomic {
    run Sender(0); run Receiver(0); run Flow(); run Returns();
    run Member(0); run Member(1); run Killer()
  };
  timeout;                                     /* nothing can move any more */
  assert(leases[0] == 0 && leases[1] == 0 && parcels[0] == 0 && parcels[1] == 0);
  assert(!linked[1] || idle(1, life[1]));
  assert(linked[0] || (!mapped[S(0,0)] && !mapped[S(0,1)]));
  assert(life[1] == 0 || !mapped[S(1,0)])
}
