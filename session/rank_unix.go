//go:build unix

package session

// elevated answers for whoever shares the effective user: that is a process's rank.
func elevated(int) (bool, error) { return true, nil }
