package portshare_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"

	"berth/portshare"
	"berth/session"
)

// The companion comes first: it reserves the port, and hears of the controller.
func Example() {
	defer privateRuntime()()
	s, err := session.Current()
	if err != nil {
		log.Fatal(err)
	}
	companion, err := portshare.Join(s, "berth")
	if err != nil {
		log.Fatal(err)
	}
	defer companion.Close()
	reserved, err := companion.Info()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reserved.State)

	// In another process, after singleton.Acquire:
	controller, err := portshare.Join(s, "berth")
	if err != nil {
		log.Fatal(err)
	}
	defer controller.Close()
	ln, err := controller.Listen()
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	var key, certSHA256 [32]byte
	rand.Read(key[:])
	rand.Read(certSHA256[:]) // of the certificate that the listener's TLS shows
	if _, err := controller.Publish("engine.sock", key, certSHA256); err != nil {
		log.Fatal(err)
	}

	listening, err := companion.Listening(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listening.State, listening.Generation, listening.Port == reserved.Port)
	// Output:
	// reserved
	// listening 1 true
}

// privateRuntime keeps the example out of the user's own session.
func privateRuntime() (restore func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	before := os.Getenv("BERTH_RUNTIME")
	os.Setenv("BERTH_RUNTIME", dir)
	return func() {
		os.Setenv("BERTH_RUNTIME", before)
		os.RemoveAll(dir)
	}
}
