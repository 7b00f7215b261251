package session

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// elevated reports whether process pid has the administrator's half of its token.
func elevated(pid int) (bool, error) {
	p, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid)) //nolint:gosec // a pid
	if err != nil {
		return false, fmt.Errorf("open process %d: %w", pid, err)
	}
	defer windows.CloseHandle(p)
	var token windows.Token
	if err := windows.OpenProcessToken(p, windows.TOKEN_QUERY, &token); err != nil {
		return false, fmt.Errorf("open the token of process %d: %w", pid, err)
	}
	defer token.Close()
	return token.IsElevated(), nil
}
