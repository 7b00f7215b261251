package portshare

import (
	"os"
	"os/exec"

	"berth/session"
)

// launchController starts the controller of s so that it outlives this process: in
// a group of its own, without a terminal, without any of our descriptors. The channel
// tells its exit code if it exits while this process lives and the code is not 0.
func launchController(s session.Session) (<-chan int, error) {
	path, err := session.Controller()
	if err != nil {
		return nil, err
	}
	cmd, err := detached(path, append(os.Environ(), "BERTH_SESSION="+s.StoreKey()))
	if err != nil {
		return nil, err
	}
	exited := make(chan int, 1)
	go func() {
		cmd.Wait() //nolint:errcheck // the exit code tells
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			exited <- code
		}
	}()
	return exited, nil
}

// command has no stdin, stdout or stderr, which os/exec turns into the null device;
// everything else that Go opens is closed in the child.
func command(path string, env []string) *exec.Cmd {
	cmd := exec.Command(path, "run")
	cmd.Env = env
	return cmd
}
