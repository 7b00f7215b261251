//go:build linux || windows

package ipc

import (
	"fmt"
	"os"
	"testing"
)

// TestAChildWithTheSocketKeepsNobodyAlive: the companion dies, a child of it holds
// the other end of its control stream. (macOS tells the end of the stream alone.)
func TestAChildWithTheSocketKeepsNobodyAlive(t *testing.T) {
	e := testEngine(t, Options{})
	p := startCompanion(t, e, "parent", "parent")
	var pid int
	if _, err := fmt.Sscanf(e.Stats().Companions[0].Name, "parent-%d", &pid); err != nil {
		t.Fatal(err)
	}
	child, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Kill() }()
	p.kill()
	waitFor(t, func() bool { return len(e.Stats().Companions) == 0 })
	if err := child.Kill(); err != nil {
		t.Fatalf("the child had gone before: %v", err)
	}
}
