//go:build !linux

package ipc

import "testing"

// usage is what a leak would show in.
type usage struct{ files, maps int }

// resources: this system lists neither files nor maps; Stats must do.
func resources(testing.TB) usage { return usage{} }

// exceeds says whether anything has become more. Less is no leak: what a test before
// this one held may still have been counted.
func (u usage) exceeds(before usage) bool { return u.files > before.files || u.maps > before.maps }
