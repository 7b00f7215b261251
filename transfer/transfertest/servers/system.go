package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// The account that vsftpd and sshd let in: they know system users only.
const (
	account         = "berthtest"
	accountPassword = "Xfer-pass-1"
)

// needs answers a [MissingError] unless the program is installed and we are root.
func needs(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		if path, err = exec.LookPath(filepath.Join("/usr/sbin", program)); err != nil {
			return "", &MissingError{program}
		}
	}
	if os.Geteuid() != 0 {
		return "", &MissingError{"root, which " + program + " has to be started by,"}
	}
	return path, nil
}

// home makes dir/name and gives it to the test account.
func home(dir, name string) (string, error) {
	root := filepath.Join(dir, name)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	return root, give(root)
}

func give(name string) error {
	u, err := testUser()
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return errors.Join(err1, err2, os.Chown(name, uid, gid))
}

// Own gives a file below Root to the server's account.
func (s *Server) Own(name string) error {
	if s.User == "" {
		return nil
	}
	return give(name)
}

// testUser finds or makes the account. Another test may be making it right now:
// then it is there a moment later.
func testUser() (*user.User, error) {
	if u, err := user.Lookup(account); err == nil {
		return u, setPassword()
	}
	out, addErr := exec.Command("useradd", "--no-create-home", "--home-dir", "/", "--shell", "/bin/sh", account).CombinedOutput()
	u, err := user.Lookup(account)
	if err != nil {
		return nil, fmt.Errorf("the account %s can't be made: %w: %s", account, errors.Join(addErr, err), out)
	}
	return u, setPassword()
}

func setPassword() error {
	shadow, err := os.ReadFile("/etc/shadow")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(shadow)) {
		if f := strings.Split(line, ":"); f[0] == account && strings.HasPrefix(f[1], "$") {
			return nil // set before, by us
		}
	}
	cmd := exec.Command("chpasswd")
	cmd.Stdin = strings.NewReader(account + ":" + accountPassword + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chpasswd: %w: %s", err, out)
	}
	return nil
}

// writeLines makes a configuration file.
func writeLines(name string, lines ...string) error {
	return os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// NewDir makes an empty directory below Root that the account may write, and
// answers its name and its path on this machine.
func (s *Server) NewDir() (name, full string, err error) {
	full, err = os.MkdirTemp(s.Root, "dir-")
	if err != nil {
		return "", "", err
	}
	name = filepath.Base(full)
	if err := os.Chmod(full, 0o755); err != nil {
		return "", "", err
	}
	return name, full, s.Own(full)
}
