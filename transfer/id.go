package transfer

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// newID answers 128 random bits as 26 lower-case letters and digits. The same
// kind of name serves packages, jobs, objects and stores.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it aborts the program instead
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// validID reports whether s can have come from newID, so that an id read from
// a disk is safe to use as a file name.
func validID(s string) bool {
	if len(s) != 26 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
