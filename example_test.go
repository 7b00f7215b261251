//go:build !windows

package berth_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"testing"

	"berth/control"
	"berth/ipc"
	"berth/portshare"
	"berth/session"
)

func Example() {
	links, err := handOver(context.Background(), "notes.txt", strings.NewReader("bytes that are no file"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(links)
}

func handOver(ctx context.Context, name string, bytes io.Reader) ([]string, error) {
	sess, err := session.Current()
	if err != nil {
		return nil, err
	}
	rec, info, err := portshare.Ensure(ctx, sess, "berth", nil) // starts a controller when none runs
	if err != nil {
		return nil, err
	}
	defer rec.Close()
	engine, err := ipc.Dial(ctx, info.Endpoint, fmt.Sprintf("my-addin-%d", os.Getpid())) // from here on there is memory to share
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	client := &control.Client{Resolve: func(ctx context.Context) (control.Target, error) {
		i, err := rec.Listening(ctx) // asked again whenever the controller was replaced
		return control.Target{Addr: fmt.Sprintf("127.0.0.1:%d", i.Port), CertSHA256: i.CertSHA256, Key: i.Key}, err
	}}
	pkg, err := client.Collect(ctx, control.NewPackage{Name: name}, engine)
	if err != nil {
		return nil, err
	}
	if _, err := pkg.AddReader(ctx, name, bytes); err != nil { // or AddFile, by path
		return nil, err
	}
	job, err := pkg.Commit(ctx) // durable once it answers
	return job.Links, err       // for the mail body, before the first byte is sent
}

// TestReadmeShowsTheExample holds the README to the function above, which
// compiles.
func TestReadmeShowsTheExample(t *testing.T) {
	here, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(here), "\nfunc handOver")
	body, _, _ := strings.Cut(rest, "\n}\n")
	if body == "" || !strings.Contains(string(readme), "```go\nfunc handOver"+body+"\n}\n```\n") {
		t.Error("README.md shows another handOver than example_test.go; next: copy it over")
	}
}
