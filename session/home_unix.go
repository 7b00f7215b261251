//go:build linux || darwin

package session

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
)

// home returns this user's home directory, also when HOME is unset, as it is
// under some service managers.
func home() (string, error) {
	if dir, err := os.UserHomeDir(); err == nil && filepath.IsAbs(dir) {
		return dir, nil
	}
	me, err := user.Current()
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(me.HomeDir) {
		return "", errors.New("this user has no home directory: set HOME")
	}
	return me.HomeDir, nil
}
