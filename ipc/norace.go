//go:build !race

package ipc

const underRace = false
