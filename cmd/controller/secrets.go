package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/zalando/go-keyring"

	"berth/control"
)

// keyringApp is the service under which the keyring lists Berth's secrets.
const keyringApp = "berth"

// keyringWait bounds a question of the keyring to the person (unlock me?). A
// controller without a screen must not hang on it for ever.
const keyringWait = 30 * time.Second

// secrets keeps the passwords of destinations in the keyring of the system, or,
// where there is none, in a file that only this user can read.
type secrets struct {
	file string // the fallback, 0600
}

// place says where a secret was put, for people.
type place string

const inKeyring place = "the system's keyring"

// secretID names the secret of a URL. It includes the host, so that a changed
// URL never sends the old server's password to the new one.
func secretID(u *url.URL) string {
	return u.Scheme + "://" + u.User.Username() + "@" + u.Host
}

// lookup answers the secret for u; "" when none is stored.
func (s secrets) lookup(ctx context.Context, u *url.URL) (string, error) {
	secret, err := keyringCall(ctx, func() (string, error) { return keyring.Get(keyringApp, secretID(u)) })
	if err == nil {
		return secret, nil
	}
	kept, err := s.readFile()
	return kept[secretID(u)], err
}

// get answers the secret for u; it is an error that none is stored.
func (s secrets) get(ctx context.Context, u *url.URL) (string, error) {
	secret, err := s.lookup(ctx, u)
	if err == nil && secret == "" {
		err = failure(control.CodeRefused,
			"Set it with `controller destinations password NAME`, on a terminal or with --password-stdin.",
			"no password is stored for %s", secretID(u))
	}
	return secret, err
}

// set stores the secret for u and says where.
func (s secrets) set(ctx context.Context, u *url.URL, secret string) (place, error) {
	_, err := keyringCall(ctx, func() (string, error) { return "", keyring.Set(keyringApp, secretID(u), secret) })
	if err == nil {
		return inKeyring, s.editFile(func(kept map[string]string) { delete(kept, secretID(u)) })
	}
	err = s.editFile(func(kept map[string]string) { kept[secretID(u)] = secret })
	return place(s.file + " (this system has no keyring; only you can read the file, but it is not encrypted)"), err
}

// remove forgets the secret for u wherever it is.
func (s secrets) remove(ctx context.Context, u *url.URL) error {
	_, _ = keyringCall(ctx, func() (string, error) { return "", keyring.Delete(keyringApp, secretID(u)) })
	return s.editFile(func(kept map[string]string) { delete(kept, secretID(u)) })
}

var errNoKeyring = errors.New("no keyring")

// keyringCall runs call unless there is no keyring to ask.
func keyringCall(ctx context.Context, call func() (string, error)) (string, error) {
	if !hasKeyring() {
		return "", errNoKeyring
	}
	type answer struct {
		secret string
		err    error
	}
	done := make(chan answer, 1)
	go func() { // outlives a timeout: the library knows no context
		secret, err := call()
		done <- answer{secret, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, keyringWait)
	defer cancel()
	select {
	case a := <-done:
		return a.secret, a.err
	case <-ctx.Done():
		return "", fmt.Errorf("the keyring did not answer: %w", ctx.Err())
	}
}

// hasKeyring looks before it leaps: without a session bus the D-Bus library
// would start one of its own, in which nothing is kept.
func hasKeyring() bool {
	if os.Getenv("BERTH_KEYRING") == "off" {
		return false
	}
	return runtime.GOOS != "linux" || os.Getenv("DBUS_SESSION_BUS_ADDRESS") != ""
}

func (s secrets) readFile() (map[string]string, error) {
	kept := map[string]string{}
	text, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return kept, nil
	}
	if err != nil {
		return nil, err
	}
	if err := privateFile(s.file); err != nil {
		return nil, err
	}
	if json.Unmarshal(text, &kept) != nil { // its error would quote the content
		return nil, failure(control.CodeFailed, "Remove the file and set the passwords again.",
			"%s is damaged", s.file)
	}
	return kept, nil
}

// privateFile refuses a file of secrets that others can read.
func privateFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return failure(control.CodeRefused, "Run `chmod 600 "+path+"` and change the passwords in it.",
			"%s can be read by other users", path)
	}
	return nil
}

func (s secrets) editFile(edit func(map[string]string)) error {
	kept, err := s.readFile()
	if err != nil {
		return err
	}
	before := len(kept)
	edit(kept)
	if len(kept) == 0 && before == 0 {
		return nil
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(s.file, append(text, '\n'))
}

func secretsBeside(configFile string) secrets {
	return secrets{file: filepath.Join(filepath.Dir(configFile), "credentials.json")}
}
