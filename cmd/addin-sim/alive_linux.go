package main

import (
	"bytes"
	"fmt"
	"os"
)

// alive tells whether a process runs. One that has ended and that nobody has
// waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	end := bytes.LastIndex(stat, []byte(") ")) // of the name, which may hold anything
	return end >= 0 && end+2 < len(stat) && stat[end+2] != 'Z' && stat[end+2] != 'X'
}
