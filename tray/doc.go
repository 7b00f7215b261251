// Package tray shows the transfers of a session in the notification area of the
// desktop: an icon that says whether anything is moving, and a menu to watch,
// pause, resume and cancel the recent jobs, each and all.
//
// It has three layers. The model (model.go, text.go) turns jobs into the
// contents of a menu and knows no desktop. The driver (driver.go) brings a
// desktop's menu to those contents, changing only what differs, from one
// goroutine, in a pool of rows made once: the tray libraries can add rows but
// cannot remove or reorder them safely while somebody clicks. The host
// (host_*.go) finds the desktop, waits for one where there is none, and leaves
// with it. Which library draws is a choice of the build (lib_*.go): on Linux
// fyne.io/systray, which needs neither cgo nor GTK, or github.com/getlantern/systray
// with the tag tray_gtk; on Windows and on macOS with cgo the latter; on macOS
// without cgo there is no tray.
//
// The tray is a bystander: it talks to the controller as any client does, and
// whatever happens to it, transfers go on.
package tray
