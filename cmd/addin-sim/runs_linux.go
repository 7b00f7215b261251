package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// runs tells whether process pid runs program. One that has ended and that
// nobody has waited for runs nothing; one that got the number of a dead process
// may run anything.
func runs(pid int, program string) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	end := bytes.LastIndex(stat, []byte(") ")) // of the name, which may hold anything
	if end < 0 || end+2 >= len(stat) || stat[end+2] == 'Z' || stat[end+2] == 'X' {
		return false
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return true // it is dying: its memory is gone already, its locks not yet
	}
	if errors.Is(err, fs.ErrPermission) { // a controller keeps its sisters out: the first 15 letters of its name must do
		name := stat[bytes.IndexByte(stat, '(')+1 : end]
		base := filepath.Base(program)
		return string(name) == base[:min(15, len(base))]
	}
	return err == nil && exe == program
}
