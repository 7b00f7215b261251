package local

// syncDir has nothing to do: NTFS journals names, and a directory can't be
// flushed without a right that users don't have.
func syncDir(string) error { return nil }
