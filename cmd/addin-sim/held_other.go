//go:build !linux

package main

// held is what this process holds of the kernel, which this system does not tell.
type held struct{}

func holdings() held { return held{} }

func (held) since(held) held { return held{} }

func (held) leaks() bool { return false }

func (held) String() string { return "not counted on this system" }
