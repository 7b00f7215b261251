package session

import (
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/windows"
)

// identity is the user's SID and the number of the logon session.
func identity() (Session, error) {
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return Session{}, fmt.Errorf("user of this process: %w", err)
	}
	var number uint32
	if err := windows.ProcessIdToSessionId(windows.GetCurrentProcessId(), &number); err != nil {
		return Session{}, fmt.Errorf("session of this process: %w", err)
	}
	return Session{user: me.User.Sid.String(), login: strconv.FormatUint(uint64(number), 10)}, nil
}

func describe(user, login string) string { return "user " + user + ", logon session " + login }

// Elevated reports whether this process runs with the administrator's half of the
// user's token.
func (Session) Elevated() bool { return windows.GetCurrentProcessToken().IsElevated() }

// systemRoot tells where the runtime directories of this user belong: in the local
// profile. It lies on disk, so only short-lived files belong there; what must die
// with its holders has a name instead ([Session.Object]).
func (s Session) systemRoot(visit func(string) error) (string, error) {
	base, err := stateBase()
	if err != nil {
		return "", err
	}
	return filepath.Join(base, "run"), visit(base)
}

// machineRoot is not used: what is shared by all users are kernel objects.
func machineRoot() (string, error) { return machineConfig() }

func stateBase() (string, error) { return known(windows.FOLDERID_LocalAppData) }

func configBase() (string, error) { return known(windows.FOLDERID_RoamingAppData) }

// machineConfig is the program folder: unlike ProgramData, only administrators
// can write there.
func machineConfig() (string, error) { return known(windows.FOLDERID_ProgramFiles) }

func known(folder *windows.KNOWNFOLDERID) (string, error) {
	base, err := windows.KnownFolderPath(folder, windows.KF_FLAG_DEFAULT)
	if err != nil {
		return "", err
	}
	return filepath.Join(base, "Berth"), nil
}
