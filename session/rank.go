package session

// Outranks reports whether this process runs with the administrator's half of the
// user's token while process pid runs without it (Windows). What such a process
// hands over would be in reach of every ordinary program of the user. On Linux and
// macOS processes of one user have one rank. Its error says that pid can't be asked.
func (s Session) Outranks(pid int) (bool, error) {
	if !s.Elevated() {
		return false, nil
	}
	other, err := elevated(pid)
	return !other, err
}
