package control

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"
)

// How long a browser may wait before it uses its token, and how long a page that
// nobody looks at stays let in.
const (
	tokenLife   = 2 * time.Minute
	visitLife   = 12 * time.Hour
	maxTokens   = 8
	maxVisitors = 32
)

// visitors are the browsers that may see the monitor page. A token lets one in,
// once; what it gets in exchange is good for the monitor's few calls, on the
// plain face alone, as long as this controller lives. Only hashes are kept, so
// that looking a secret up tells nothing about it by its time.
type visitors struct {
	now func() time.Time

	mu     sync.Mutex
	tokens map[[32]byte]time.Time // when it expires
	visits map[[32]byte]time.Time // when it expires, unless used
}

func newVisitors() *visitors {
	return &visitors{now: time.Now, tokens: map[[32]byte]time.Time{}, visits: map[[32]byte]time.Time{}}
}

// invite makes a token for one use. The oldest unused one goes when there are
// too many.
func (v *visitors) invite() (token string, expires time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	token, expires = secret(), v.now().Add(tokenLife)
	store(v.tokens, token, expires, maxTokens, v.now())
	return token, expires
}

// admit takes a token and answers the bearer of the visit.
func (v *visitors) admit(token string) (bearer string, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := sha256.Sum256([]byte(token))
	expires, ok := v.tokens[id]
	delete(v.tokens, id)
	if !ok || !v.now().Before(expires) {
		return "", false
	}
	bearer = secret()
	store(v.visits, bearer, v.now().Add(visitLife), maxVisitors, v.now())
	return bearer, true
}

// welcome tells whether bearer belongs to a visit, and prolongs it.
func (v *visitors) welcome(bearer string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := sha256.Sum256([]byte(bearer))
	expires, ok := v.visits[id]
	if !ok || !v.now().Before(expires) {
		delete(v.visits, id)
		return false
	}
	v.visits[id] = v.now().Add(visitLife)
	return true
}

func secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime ends the program instead
	return hex.EncodeToString(b[:])
}

// store adds the hash of a secret and keeps m within room: what has expired goes
// first, then what would expire next.
func store(m map[[32]byte]time.Time, secret string, expires time.Time, room int, now time.Time) {
	for id, t := range m {
		if !now.Before(t) {
			delete(m, id)
		}
	}
	for len(m) >= room {
		var next [32]byte
		for id, t := range m {
			if at, ok := m[next]; !ok || t.Before(at) {
				next = id
			}
		}
		delete(m, next)
	}
	m[sha256.Sum256([]byte(secret))] = expires
}
