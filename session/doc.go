// Package session says who and where this process is: the user, the session in
// which exactly one controller runs, its runtime and state directories, the names
// of its kernel objects and the access lists that guard them.
//
// A session is
//   - on Windows the user's SID and the number of the logon session,
//   - on macOS the user id and the audit session id,
//   - on Linux the user id: by default one session per user, however often that
//     user is logged in, because all of those logins share one runtime directory.
//
// BERTH_SESSION (or [Named]) adds a key, for several sessions of one user.
//
// Environment, read when the [Session] is made:
//
//	BERTH_SESSION  the extra key; "default" names the session without one
//	BERTH_RUNTIME  base of the runtime directory instead of the system's own. It
//	               is verified like the system's: an existing directory must
//	               belong to this user with mode 0700 (a missing one is made so).
//	BERTH_STATE    the state directory instead of the system's
//
// Runtime directories. On Linux /run/user/UID counts when it is a tmpfs, whether
// XDG_RUNTIME_DIR is set or not; without it uid 0 uses /run/berth (where /run is a
// tmpfs), everybody else /dev/shm/berth-UID. A directory that belongs to somebody
// else, or that others can enter, is refused with [ErrUnsafe]; nothing is ever put
// into a shared name under /tmp.
package session
