//go:build race

package ipc

// underRace: parcels and messages are used once, so that who touches one too late meets
// nobody else's. Tests ask for it too: atomic operations touch memory in the race
// detector's own code, where no fault can be recovered.
const underRace = true
