//go:build linux || darwin

package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// makePrivate makes dir with mode 0700, or verifies the one that is there.
//
// Between the check and a later use nobody can exchange the directory: its parent
// is either private too or a sticky directory, where only the owner may rename.
func (s Session) makePrivate(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		// The umask can only have taken bits of our own away.
		return os.Chmod(dir, 0o700)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.verifyPrivate(dir)
}

// verifyPrivate fails unless path is a real directory of this user, mode 0700.
func (Session) verifyPrivate(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	owner := ownerOf(info)
	switch {
	case owner != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to %s, not to %s; have it removed by that user or by root",
			ErrUnsafe, path, person(owner), person(os.Geteuid()))
	case !info.IsDir():
		return fmt.Errorf("%w: %s is not a directory (%s); remove it", ErrUnsafe, path, info.Mode())
	case info.Mode().Perm() != 0o700:
		return fmt.Errorf("%w: %s has mode %04o, others may enter or you may not; run: chmod 700 %s",
			ErrUnsafe, path, info.Mode().Perm(), path)
	}
	return nil
}

// verifyShared fails unless path is a directory in which other users cannot rename
// or remove what is ours: root's, and sticky when others may write to it.
func verifyShared(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if owner := ownerOf(info); owner != 0 || !info.IsDir() {
		return fmt.Errorf("%w: %s is not a directory of root (%s, %s)", ErrUnsafe, path, person(owner), info.Mode())
	}
	if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%w: %s is writable by others and not sticky (mode %s); run as root: chmod 1777 %s",
			ErrUnsafe, path, info.Mode(), path)
	}
	return nil
}

func ownerOf(info fs.FileInfo) int {
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

func person(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return "uid " + id + " (" + u.Username + ")"
	}
	return "uid " + id
}
