package portshare

import "berth/session"

// life is nothing of its own on Windows: the record's section lives as long as
// somebody has it open.
type life struct{}

// enter tells whether this process is the first: it is when it made the section.
func enter(_ session.Session, _ string, made bool) (*life, bool, error) {
	return &life{}, made, nil
}

func (*life) leave(bool) (last bool, err error) { return false, nil }

func abandoned(session.Session, string) (bool, error) { return false, nil }

func nowhere(session.Session) bool { return false }
