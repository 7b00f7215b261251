//go:build !linux

package main

// held is what this process holds of the kernel, which this system does not tell.
type held struct{}

func holdings() held { return held{} }

func (held) since(held) held { return held{} }

func (held) leaks() bool { return false }

func (held) String() string { return "not counted on this system" }

// used is how much of the machine this process uses, which is not asked here.
type used struct {
	shared, private int64
	threads         int
}

func usage() used { return used{} }
