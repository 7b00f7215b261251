package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrNoController is wrapped by the error of [Controller] when there is none.
var ErrNoController = errors.New("no controller is installed")

// Controller returns the path of the controller executable: the one an installer
// recorded for this user, else for the machine (see [ControllerFile]), else the
// one beside the caller's own executable.
func Controller() (string, error) {
	var tried []string
	for _, candidate := range controllerCandidates() {
		if err := executable(candidate); err == nil {
			return candidate, nil
		}
		tried = append(tried, candidate)
	}
	return "", fmt.Errorf("%w: looked at %s; run \"controller install\" once, or put the controller beside this program",
		ErrNoController, strings.Join(tried, ", "))
}

// ControllerFile returns the file in which an installer records the absolute path
// of the controller executable, as one line of UTF-8: this user's, or the
// machine's, which only an administrator can write. It need not exist.
func ControllerFile(allUsers bool) (string, error) {
	base := configBase
	if allUsers {
		base = machineConfig
	}
	dir, err := base()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "controller.path"), nil
}

func controllerCandidates() []string {
	var found []string
	for _, allUsers := range []bool{false, true} {
		if path, err := recorded(allUsers); err == nil {
			found = append(found, path)
		}
	}
	if self, err := os.Executable(); err == nil {
		found = append(found, filepath.Join(filepath.Dir(self), controllerName()))
	}
	return found
}

func recorded(allUsers bool) (string, error) {
	file, err := ControllerFile(allUsers)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	path := strings.TrimSpace(string(text))
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s: not an absolute path", file)
	}
	return path, nil
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || runtime.GOOS != "windows" && info.Mode().Perm()&0o111 == 0 {
		return fs.ErrPermission
	}
	return nil
}

func controllerName() string {
	if runtime.GOOS == "windows" {
		return "controller.exe"
	}
	return "controller"
}
