/* The timer that ends naps (nap.go), and the end of the lane they are taken in.
 *
 * A leader naps N times, and nobody wakes it: the other side has overwritten the wake
 * word, or takes the sleeper away to where no wake-up finds it. After its last nap, or
 * during any, the lane is taken down by somebody who does not wait for it. Each step is
 * one atomic operation.
 *
 * Held to be true: every nap ends, nobody touches a lane that is unmapped, it is
 * unmapped once, and in the end no timer runs (assertions, no invalid end state).
 */
#ifndef N
#define N 3
#endif

byte naps;                       /* link.naps */
bit rousing, timer;              /* link.rousing; it will fire */
byte napped;
byte parked;                     /* in the kernel: on the wake word, or TAKEN away from it */
#define TAKEN 2
byte vain;                       /* looks of the rouser since it was */
byte users = 1, closed;          /* link.users; how often the lane was unmapped */
byte leader;                     /* link.leader: none, leading, yielding */
bit left;

inline touch() { assert(closed == 0) }

inline leaveLane() {
  d_step { users--; if :: users == 0 -> closed++; assert(closed == 1) :: else fi }
}

inline haveRouser() {
  if
  :: !rousing -> d_step { if :: !rousing -> rousing = 1; timer = 1 :: else fi }
  :: else
  fi
}

active proctype Leader() {       /* link.nap */
  byte done;
  bit lost;
  do
  :: done < N && !lost ->
     d_step { if :: leader -> lost = 1 :: else -> leader = 1 fi };
     if
     :: lost -> break            /* it is down */
     :: else
     fi;
#ifdef MUTANT_TIMER_SEEN_BEFORE_COUNTED
     haveRouser(); naps++;
#else
     naps++; haveRouser();       /* link.beginNap */
#endif
     leader = 2;
     touch();
     if                          /* a wake-up before this is lost */
     :: parked = 1
     :: d_step { parked = TAKEN; vain = 0 }      /* FUTEX_REQUEUE, or a crowd that takes the wake-ups */
     fi;
     !parked;
     naps++;
     d_step { if :: leader == 2 -> leader = 1 :: else -> lost = 1 fi };      /* link.regain */
     if
     :: lost -> leaveLane()
     :: else -> touch(); leader = 0
     fi;
     done++
  :: else -> break
  od;
  left = 1
}

inline wakeSelf() { touch(); d_step { if :: parked == 1 -> parked = 0 :: else fi } }

/* The limit is many looks of the rouser away. */
inline timePasses() {
  d_step {
    if
#ifndef MUTANT_NO_LIMIT
    :: parked == TAKEN && vain == 2 -> parked = 0        /* sleepLimit */
#endif
    :: parked == TAKEN && vain < 3 -> vain++; assert(vain < 3)
    :: else
    fi
  }
}

/* lastWords and takeDown: the lane has a user more while a deposed leader is in it. */
active proctype Taker() {
  if
  :: d_step { leader == 0 -> leader = 1 }
  :: d_step { leader == 2 -> users++; leader = 1 }
  fi;
  leaveLane()
}

active proctype Rouser() {       /* link.rouse, link.wakeLeader */
  byte n;
end:
  do
  :: d_step { timer -> timer = 0 };
     n = naps;
     if
     :: n != napped -> napped = n
     :: n == napped && n % 2 ->
        timePasses();
#ifdef MUTANT_ROUSED_WITHOUT_LANE
        wakeSelf()
#else
        d_step { if :: users > 0 -> users++ :: else -> n = 0 fi };
        if
        :: n -> wakeSelf(); leaveLane()
        :: else
        fi
#endif
#ifdef MUTANT_ROUSED_ONCE
        ; rousing = 0; goto end
#endif
     :: else ->
        rousing = 0;
#ifndef MUTANT_NO_LOOK_AFTER_STOPPING
        if
        :: naps == n -> goto end
        :: else ->
           d_step { if :: !rousing -> rousing = 1; n = 1 :: else -> n = 0 fi };
           if :: n :: else -> goto end fi
        fi
#else
        goto end
#endif
     fi;
     timer = 1
  od
}

init {
  timeout;
  assert(left && closed == 1 && users == 0);
  assert(!timer && !rousing)
}
