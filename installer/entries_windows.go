package installer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

const (
	runKey      = `Software\Microsoft\Windows\CurrentVersion\Run`
	approvedKey = `Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run`
	runName     = "Berth"
)

// entries are what this installation consists of.
func entries(o Options) (wanted, unwanted []entry, err error) {
	if o.UserUnit {
		return nil, nil, errors.New("systemd user units are for Linux; install without one")
	}
	record, err := o.record()
	if err != nil {
		return nil, nil, err
	}
	root := registry.CURRENT_USER
	if o.AllUsers {
		root = registry.LOCAL_MACHINE
	}
	return []entry{runValue{root: root, run: runKey, approved: approvedKey}, record}, nil, nil
}

// runValue is a value under a Run key: at each logon the shell starts its
// command line, unelevated and in the session of that logon.
type runValue struct {
	root          registry.Key
	run, approved string // paths of the keys below root
}

func (v runValue) place() string {
	name := map[registry.Key]string{registry.CURRENT_USER: "HKCU", registry.LOCAL_MACHINE: "HKLM"}[v.root]
	return name + `\` + v.run + `\` + runName
}

func commandLine(executable string) string { return `"` + executable + `" run` }

// put sets the value. A registry value is replaced as a whole.
func (v runValue) put(executable string) error {
	k, _, err := registry.CreateKey(v.root, v.run, registry.SET_VALUE)
	if err != nil {
		return err
	}
	defer k.Close()
	return k.SetStringValue(runName, commandLine(executable))
}

// drop removes the value, and the note of the Task Manager about it.
func (v runValue) drop() error {
	for _, path := range []string{v.run, v.approved} {
		if err := deleteValue(v.root, path); err != nil {
			return err
		}
	}
	return nil
}

func deleteValue(root registry.Key, path string) error {
	k, err := registry.OpenKey(root, path, registry.SET_VALUE)
	if errors.Is(err, registry.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer k.Close()
	if err := k.DeleteValue(runName); !errors.Is(err, registry.ErrNotExist) {
		return err
	}
	return nil
}

func (v runValue) check(executable string) (exists, right bool, err error) {
	k, err := registry.OpenKey(v.root, v.run, registry.QUERY_VALUE)
	if errors.Is(err, registry.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	defer k.Close()
	command, _, err := k.GetStringValue(runName)
	if errors.Is(err, registry.ErrNotExist) {
		return false, false, nil
	}
	return err == nil, command == commandLine(executable) && v.isApproved(), err
}

// isApproved is false when the user has switched the start off in the Task
// Manager, which notes that in a value beginning with an odd byte.
func (v runValue) isApproved() bool {
	k, err := registry.OpenKey(v.root, v.approved, registry.QUERY_VALUE)
	if err != nil {
		return true
	}
	defer k.Close()
	note, _, err := k.GetBinaryValue(runName)
	return err != nil || len(note) == 0 || note[0]&1 == 0
}

// runnable says why a path cannot be started.
func runnable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || !strings.EqualFold(filepath.Ext(path), ".exe") {
		return fmt.Errorf("%s is not an .exe file", path)
	}
	return nil
}

// trusted refuses an executable outside the program folders, which only
// administrators can write: every user of the machine is going to run it.
func trusted(path string) error {
	for _, id := range []*windows.KNOWNFOLDERID{windows.FOLDERID_ProgramFiles, windows.FOLDERID_ProgramFilesX86} {
		folder, err := windows.KnownFolderPath(id, windows.KF_FLAG_DEFAULT)
		if err != nil {
			continue // no 32-bit folder on this system
		}
		rel, err := filepath.Rel(folder, path)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, `..\`) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is outside the program folders, where users other than administrators could replace it, and all users would run it. Put the controller into %%ProgramFiles%%\\Berth: %w", ErrNotAllowed, path, fs.ErrPermission)
}
