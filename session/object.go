package session

import (
	"hash/fnv"
	"strconv"
)

// Object returns the name of a Windows kernel object of this session: unique per
// user, session, app and kind, so that no two types of object meet under one name
// (an event with a mutex's name makes CreateMutex fail). The name lies in the
// Local namespace, which Windows keeps apart per logon session; the SID is in it
// because "run as" puts two users into one logon session.
func (s Session) Object(app, kind string) string {
	return `Local\` + join("berth", app, s.Key(), s.isolation(), kind)
}

// MachineObject is like [Session.Object], but the same for all users and sessions
// of the machine.
func (s Session) MachineObject(app, kind string) string {
	return `Global\` + join("berth", app, "machine", s.isolation(), kind)
}

// isolation keeps object names apart when the runtime directory is overridden, as
// the directory itself does for everything that is a file.
func (s Session) isolation() string {
	if s.runtime == "" {
		return ""
	}
	h := fnv.New64a()
	h.Write([]byte(s.runtime))
	return strconv.FormatUint(h.Sum64(), 36)
}
