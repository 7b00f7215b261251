package ipc

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTheLimitOfTheOwnControlGroupCounts: of the group that this process is in, or of one
// above it.
func TestTheLimitOfTheOwnControlGroupCounts(t *testing.T) {
	const none = 1 << 40
	for name, c := range map[string]struct {
		groups string
		files  map[string]string
		want   int64
	}{
		"nothing":        {"0::/\n", nil, none},
		"unreadable":     {"", map[string]string{"memory.max": "4096\n"}, 4096},
		"root":           {"0::/\n", map[string]string{"memory.max": "8192\n"}, 8192},
		"own":            {"0::/user.slice/app.scope\n", map[string]string{"user.slice/app.scope/memory.max": "1000\n", "user.slice/memory.max": "max\n"}, 1000},
		"above":          {"0::/user.slice/app.scope\n", map[string]string{"user.slice/app.scope/memory.max": "max\n", "user.slice/memory.max": "500\n"}, 500},
		"least":          {"0::/a/b/c\n", map[string]string{"a/b/c/memory.max": "30\n", "a/b/memory.max": "10\n", "a/memory.max": "20\n"}, 10},
		"another's":      {"0::/a\n", map[string]string{"b/memory.max": "5\n"}, none},
		"version 1":      {"5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n", map[string]string{"memory/docker/1/memory.limit_in_bytes": "777\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}, 777},
		"root, 1":        {"4:memory:/not/mounted/here\n", map[string]string{"memory/memory.limit_in_bytes": "99\n"}, 99},
		"nonsense":       {"0::/a\nwhat\n:\n", map[string]string{"a/memory.max": "many\n"}, none},
		"outside":        {"0::/../../etc\n", map[string]string{"etc/memory.max": "3\n"}, 3},
		"colons in name": {"0::/a:b\n", map[string]string{"a:b/memory.max": "11\n"}, 11},
	} {
		mount := t.TempDir()
		for path, text := range c.files {
			path = filepath.Join(mount, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := groupLimit(mount, c.groups, none); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if n := usableMemory(); n <= 1<<20 {
		t.Errorf("this process may use %d bytes", n)
	}
}
