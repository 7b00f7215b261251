// Package installer makes the controller start in every session of a user, or
// of all users of a machine, and takes that back.
//
// Per user on Linux that is an XDG autostart entry, or a systemd user unit when
// asked for; on Windows a Run value of the registry; on macOS a launch agent.
// For all users it is the machine's counterpart of the same, which only an
// administrator can write. Beside it stands a record of where the controller's
// executable is, by which [berth/session.Controller] finds it.
//
// Nothing here starts or stops a controller, or needs one to run. A controller
// that is started twice in one session ends by itself, so two ways of starting
// it do no harm.
package installer
