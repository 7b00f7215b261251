// Package control is the API between the controller of a session and everyone
// who talks to it: companions, the command line, the tray and the monitor page.
//
// openapi.json is its definition, from which clients in other languages can be
// generated; the types below are the same words in Go, and a test holds the two
// together. [Client] follows a controller through its restarts; the server side
// reaches the queue through the small [Service] interface, so that importing the
// client does not bring the queue along.
package control
