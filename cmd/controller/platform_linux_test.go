package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// platformCommands are the commands of scripts that only this system has.
func platformCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"stranger": cmdStranger, "smalldisk": cmdSmallDisk,
	}
}

// nobody is a user with no relation to anybody.
const nobody = 65534

// cmdStranger runs a program as another user of the machine, who can reach no
// more than everybody.
func cmdStranger(ts *testscript.TestScript, neg bool, args []string) {
	if args[0] == "grab" {
		args = append([]string{strangersGrab(ts)}, args[1:]...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "BERTH_SESSION=" + ts.Getenv("BERTH_SESSION")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	ts.Logf("%s%v", out, err)
	if _, ended := err.(*exec.ExitError); err != nil && !ended { //nolint:errorlint // Run wraps nothing
		ts.Fatalf("the stranger could not even try: %v", err)
	}
	if (err == nil) == neg {
		ts.Fatalf("stranger: %v ended with %v", args, err)
	}
}

// strangersGrab puts this program where a stranger can run it.
func strangersGrab(ts *testscript.TestScript) string {
	dir, err := os.MkdirTemp("", "berth-stranger-")
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	ts.Check(os.Chmod(dir, 0o755))
	self, err := os.Executable()
	ts.Check(err)
	data, err := os.ReadFile(self)
	ts.Check(err)
	path := filepath.Join(dir, "grab")
	ts.Check(os.WriteFile(path, data, 0o755))
	return path
}

// cmdSmallDisk mounts a disk of a certain size: smalldisk DIR SIZE.
func cmdSmallDisk(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+args[1]))
	ts.Defer(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// grab tries every way to listen on a port, and succeeds if one works.
func grab(port int) int {
	for _, option := range []int{0, unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return 2
		}
		if option != 0 {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
				return 2
			}
		}
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		if err == nil && unix.Listen(fd, 1) == nil {
			return 0
		}
		_ = unix.Close(fd)
	}
	return 1
}
