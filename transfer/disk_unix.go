//go:build linux || darwin

package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// diskFull reports a write refused for lack of room: disk, quota or inodes.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// identity answers device and inode of an open file: what tells a file from
// another one that was put in its place.
func identity(_ *os.File, info fs.FileInfo) (string, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.New("no file identity on this system")
	}
	return fmt.Sprintf("%x-%x", st.Dev, st.Ino), nil
}
