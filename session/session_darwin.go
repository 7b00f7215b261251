package session

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// auditInfo is struct auditinfo_addr of <bsm/audit.h>.
type auditInfo struct {
	user     uint32
	mask     [2]uint32
	terminal [6]uint32 // port, type, address of 16 bytes
	session  int32     // ai_asid
	flags    uint64
}

// identity is the effective user and the audit session: Aqua logins, fast user
// switching and ssh logins each have one of their own.
func identity() (Session, error) {
	var info auditInfo
	// SAFETY: the kernel writes at most the given size into info, which outlives the call.
	_, _, errno := unix.Syscall(unix.SYS_GETAUDIT_ADDR, uintptr(unsafe.Pointer(&info)), unsafe.Sizeof(info), 0) //nolint:staticcheck // x/sys has no wrapper for it
	if errno != 0 {
		return Session{}, fmt.Errorf("audit session: %w", errno)
	}
	temp, err := userTemp()
	if err != nil {
		return Session{}, err
	}
	login := strconv.FormatUint(uint64(uint32(info.session)), 10)
	return Session{user: strconv.Itoa(os.Geteuid()), login: login, base: temp}, nil
}

// userTemp is the system's per-user temporary directory. getconf is asked because
// TMPDIR is the caller's to change, and two processes of one user must come to the
// same answer. It never changes while the user exists.
func userTemp() (string, error) {
	out, err := exec.Command("/usr/bin/getconf", "DARWIN_USER_TEMP_DIR").Output()
	if err != nil {
		return "", fmt.Errorf("per-user temporary directory: getconf: %w", err)
	}
	return filepath.Clean(strings.TrimSpace(string(out))), nil
}

func describe(user, login string) string { return "uid " + user + ", login " + login }

// Elevated reports whether this process has more rights than the user who started
// it: on macOS, a set-user-id program.
func (Session) Elevated() bool { return os.Geteuid() != os.Getuid() }

// systemRoot is not asked: identity has found the directory once and for all.
func (s Session) systemRoot(func(string) error) (string, error) {
	return "", errors.New("the system gives this user no temporary directory")
}

// machineRoot is a directory of the system in which every user may make files.
func machineRoot() (string, error) { return "/Users/Shared", verifyShared("/Users/Shared") }

const support = "Library/Application Support/Berth"

func stateBase() (string, error) { return inLibrary() }

func configBase() (string, error) { return inLibrary() }

// inLibrary is where macOS keeps state and configuration alike.
func inLibrary() (string, error) {
	dir, err := home()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, support), nil
}

func machineConfig() (string, error) { return "/" + support, nil }
