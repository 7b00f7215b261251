//go:build linux || darwin

package session

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// home returns this user's home directory. HOME is believed only when it belongs to
// this user: under some service managers it is unset, and sudo may leave it at the
// directory of the user who called it, where root's files would be in the way.
func home() (string, error) {
	if dir, err := os.UserHomeDir(); err == nil && filepath.IsAbs(dir) {
		if info, err := os.Stat(dir); err == nil && ownerOf(info) == os.Geteuid() {
			return dir, nil
		}
	}
	me, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return "", fmt.Errorf("home directory: %w; set HOME to a directory of this user", err)
	}
	if !filepath.IsAbs(me.HomeDir) {
		return "", errors.New("this user has no home directory: set HOME")
	}
	return me.HomeDir, nil
}
