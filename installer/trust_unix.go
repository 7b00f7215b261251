//go:build linux || darwin

package installer

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// runnable says why a path cannot be started.
func runnable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s is not an executable file", path)
	}
	return nil
}

// trusted refuses an executable that somebody other than the administrator
// could replace: every user of the machine is going to run it. Links are
// followed, and the directories on the way count.
func trusted(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, p := range []string{path, real} {
		for {
			if err := adminOnly(p); err != nil {
				return err
			}
			if p == filepath.Dir(p) {
				break
			}
			p = filepath.Dir(p)
		}
	}
	return nil
}

func adminOnly(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	sticky := info.IsDir() && info.Mode()&os.ModeSticky != 0
	if !ok || st.Uid != 0 || info.Mode().Perm()&0o022 != 0 && !sticky {
		return fmt.Errorf("%w: %s can be changed by users other than root, and all users would run the controller in it. Put the controller into a directory of root's, such as /usr/local/bin", ErrNotAllowed, path)
	}
	return nil
}
