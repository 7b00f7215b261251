package ipc

// descriptors: a process may have 16 million handles, and memory ends before them.
func descriptors() (used, limit int, ok bool) { return 0, 0, false }
