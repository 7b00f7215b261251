package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Errors of the queue and of packages. What they are wrapped in says what
// happened, why, and what to do next.
var (
	// ErrNotFound: no job, package or item has this id.
	ErrNotFound = errors.New("not found")
	// ErrState: the command is not possible in the job's present state.
	ErrState = errors.New("not possible now")
	// ErrDraining: the queue is ending and accepts nothing more.
	ErrDraining = errors.New("the transfer queue is ending")
	// ErrNoSpace: the disk with the state directory is full. Nothing that was
	// acknowledged is lost; the same call may succeed once there is room.
	ErrNoSpace = errors.New("no space left for the transfer queue")
	// ErrCorrupt: a store cannot be read. It is kept as it is.
	ErrCorrupt = errors.New("the transfer store is damaged")
	// ErrSource: a source file is missing, unreadable, not a regular file, or has
	// changed since it was added. It is permanent.
	ErrSource = fmt.Errorf("source file: %w", ErrPermanent)
	// ErrEmpty: a package without items cannot be committed.
	ErrEmpty = errors.New("the package is empty: add a file first")
)

// permanent reports whether another try cannot help by itself.
func permanent(err error) bool {
	return errors.Is(err, ErrPermanent) || errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrExists)
}

// advice is an error with its class kept out of the text, which is for people.
type advice struct {
	class error
	cause error
	text  string
}

func (e *advice) Error() string { return e.text }

func (e *advice) Unwrap() []error {
	if e.cause == nil {
		return []error{e.class}
	}
	return []error{e.class, e.cause}
}

func advise(class, cause error, format string, args ...any) error {
	return &advice{class, cause, fmt.Sprintf(format, args...)}
}

// waiting says, for people, why a job that is not over has to be tried again,
// when that is, and what would help.
func waiting(why error, at time.Time, s State) string {
	when := "It is tried again now"
	if time.Now().Before(at) {
		when = "It is tried again by itself at " + at.Format(time.TimeOnly)
	}
	var help []string
	advised, local := (*advice)(nil), (*fs.PathError)(nil)
	if !errors.As(why, &advised) && !errors.As(why, &local) { // those name their own remedy
		help = append(help, "see that the server runs and is reachable")
	}
	if s != Canceled {
		help = append(help, "or cancel")
	}
	if len(help) > 0 {
		when += "; " + strings.Join(help, ", ")
	}
	text := strings.TrimRight(strings.ReplaceAll(why.Error(), "\n", "; "), ". ")
	if s != Canceled {
		text = "not delivered yet: " + text
	}
	return text + ". " + when + "."
}

// diskError gives an error of the state directory its class: a full disk is
// ErrNoSpace, with what to do about it.
func diskError(doing, dir string, err error) error {
	if err == nil {
		return nil
	}
	if diskFull(err) {
		return advise(ErrNoSpace, err, "%s: the disk of %s is full. Free some space there and try again; nothing accepted so far is lost.", doing, dir)
	}
	return fmt.Errorf("%s in %s: %w", doing, dir, err)
}

// sourceError explains why a file cannot be sent.
func sourceError(path string, err error) error {
	name := shown(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return advise(ErrSource, err, "%s does not exist. Check the path, put the file back, and retry.", name)
	case errors.Is(err, fs.ErrPermission):
		return advise(ErrSource, err, "%s may not be read by this user. Allow reading it and retry.", name)
	}
	why := err
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		why = p.Err // without the path, which stands there already
	}
	return advise(ErrSource, err, "%s cannot be read: %v. Check the file and retry.", name, why)
}

// shown is a path for people: one that no system would open is shortened.
func shown(path string) string {
	const most, end = 4096, 64
	if len(path) <= most {
		return path
	}
	return strings.ToValidUTF8(path[:end]+"…"+path[len(path)-end:], "?")
}
