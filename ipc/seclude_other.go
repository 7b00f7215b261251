//go:build windows || darwin

package ipc

func seclude() error { return ErrNoSeclusion }
