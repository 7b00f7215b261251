package transfer

import "fmt"

// event is what moves a job from state to state.
type event string

const (
	evStart    event = "start"
	evVerify   event = "verify"
	evMismatch event = "send again"
	evBackOff  event = "back off"
	evFail     event = "fail"
	evFinish   event = "finish"
	evPause    event = "pause"
	evResume   event = "resume"
	evCancel   event = "cancel"
	evRetry    event = "retry"
)

// next is the transition table: the whole of the drawing above [State].
func next(s State, e event) (State, bool) {
	switch e {
	case evStart:
		return Uploading, s == Queued
	case evVerify:
		return Verifying, s == Uploading
	case evMismatch:
		return Uploading, s == Verifying
	case evBackOff:
		return Queued, s == Uploading || s == Verifying
	case evFail:
		return Failed, s == Uploading || s == Verifying
	case evFinish:
		return Done, s == Verifying
	case evPause:
		return Paused, s == Queued || s == Uploading || s == Verifying
	case evResume:
		return Queued, s == Paused
	case evCancel:
		return Canceled, s != Done && s != Canceled
	case evRetry:
		return Queued, s == Failed || s == Canceled
	}
	return s, false
}

// repeated reports a command whose goal the job has already reached: it
// succeeds and changes nothing.
func repeated(s State, e event) bool {
	switch e {
	case evPause:
		return s == Paused
	case evResume:
		return s == Queued || s == Uploading || s == Verifying
	case evCancel:
		return s == Canceled
	}
	return false
}

// durable is the state that is stored for s.
func (s State) durable() State {
	switch s {
	case Uploading, Verifying:
		return Queued
	case Queued, Paused, Done, Failed, Canceled:
		return s
	}
	return ""
}

// final reports whether nothing more happens to a job by itself.
func (s State) final() bool { return s == Done || s == Failed || s == Canceled }

// StateError is a command that the present state of a job does not allow. It is
// [ErrState].
type StateError struct {
	ID    string
	State State
	Verb  string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("job %s is %s: it cannot %s. %s", e.ID, e.State, e.Verb, e.hint())
}

// Is makes a StateError an [ErrState].
func (e *StateError) Is(target error) bool { return target == ErrState }

func (e *StateError) hint() string {
	switch e.State {
	case Done:
		return "It has been delivered; nothing is left to do."
	case Failed:
		return "Retry or cancel it."
	case Canceled:
		return "Retry sends it again."
	case Paused:
		return "Resume or cancel it."
	}
	return "It is under way; pause or cancel it."
}
