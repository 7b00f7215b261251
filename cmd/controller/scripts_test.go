package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/portshare"
	"berth/session"
	"berth/transfer/transfertest/servers"
)

// The scripts run this very test binary as the controller, so that the race
// detector covers the programs.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){
		"controller": func() { os.Exit(execute(os.Args[1:])) },
		"server":     func() { os.Exit(testServer(os.Args[1:])) },
		"grab":       func() { os.Exit(testGrab(os.Args[1:])) },
	})
}

// testServer runs a real file server until its standard input ends.
func testServer(args []string) int {
	if err := servers.Serve(args[0], args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// testGrab tries to listen on a port that is somebody else's.
func testGrab(args []string) int {
	port, err := strconv.Atoi(args[0])
	if err != nil {
		return 2
	}
	return grab(port)
}

// suite puts addin-sim beside the controller before the tests run.
type suite struct{ *testing.M }

func (s suite) Run() int {
	controller, err := exec.LookPath("controller")
	if err == nil {
		err = placeAddinSim(filepath.Dir(controller))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return s.M.Run()
}

// placeAddinSim builds the companion, or takes the one that is given where no
// compiler runs.
func placeAddinSim(dir string) error {
	target := filepath.Join(dir, "addin-sim")
	if runtime.GOOS == "windows" {
		target += ".exe"
	}
	if given := os.Getenv("BERTH_ADDIN_SIM"); given != "" {
		data, err := os.ReadFile(given)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o700)
	}
	args := []string{"build", "-o", target, "berth/cmd/addin-sim"}
	if raceEnabled {
		args = []string{"build", "-race", "-o", target, "berth/cmd/addin-sim"}
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building addin-sim: %w\n%s", err, out)
	}
	return nil
}

func TestScripts(t *testing.T) {
	var number atomic.Int32
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			return newScriptSession(env, fmt.Sprintf("t%d-%d", os.Getpid(), number.Add(1)))
		},
		Cmds: scriptCommands(),
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	cmds := map[string]func(*testscript.TestScript, bool, []string){
		"exits": cmdExits, "listening": cmdListening, "crash": cmdCrash, "gone": cmdGone, "await": cmdAwait, "says": cmdSays, "jobid": cmdJobID,
		"random": cmdRandom, "change": cmdChange, "patch": cmdPatch, "fetch": cmdFetch, "resent": cmdResent,
		"companion": cmdCompanion, "register": cmdRegister, "damage": cmdDamage, "damaged": cmdDamaged,
		"serve": cmdServe, "down": cmdDown, "up": cmdUp, "waiting": cmdWaiting,
		"delivered": cmdDelivered, "cleared": cmdCleared, "zeros": cmdZeros, "secretless": cmdSecretless,
	}
	maps.Copy(cmds, platformCommands())
	return cmds
}

// newScriptSession gives a script a session, a state directory and a
// configuration of its own, and leaves nothing of them behind.
func newScriptSession(env *testscript.Env, name string) error {
	for key, value := range map[string]string{
		"BERTH_SESSION":   name,
		"BERTH_STATE":     filepath.Join(env.WorkDir, ".state"),
		"BERTH_KEYRING":   "off",
		"XDG_CONFIG_HOME": filepath.Join(env.WorkDir, ".config"),
		"APPDATA":         filepath.Join(env.WorkDir, ".config"),
		"LOCALAPPDATA":    filepath.Join(env.WorkDir, ".local"),
		"HOME":            env.WorkDir,
		"CONFIG":          filepath.Join(env.WorkDir, ".config", configFolder(), "config.toml"),
		"FOLDER":          configFolder(),
		"GORACE":          "atexit_sleep_ms=0",
	} {
		env.Setenv(key, value)
	}
	if runtime.GOOS == "windows" { // asks the system, not the environment, where settings are
		config := env.Getenv("CONFIG")
		if err := errors.Join(os.MkdirAll(filepath.Dir(config), 0o700), os.WriteFile(config, nil, 0o600)); err != nil {
			return err
		}
		env.Setenv("BERTH_CONFIG", config)
	}
	for _, key := range []string{"SYSTEMROOT", "USERPROFILE", "XDG_RUNTIME_DIR", "GOCOVERDIR"} {
		if v, ok := os.LookupEnv(key); ok {
			env.Setenv(key, v)
		}
	}
	env.Values[frontKey{}] = &front{}
	s, err := session.Named(name)
	if err != nil {
		return err
	}
	env.Defer(func() { endScriptSession(env, s) })
	dir, err := s.RuntimeDir()
	env.Setenv("RUNTIME", dir)
	return err
}

func configFolder() string {
	if runtime.GOOS == "windows" {
		return "Berth"
	}
	return "berth"
}

// endScriptSession ends the controller of a script and waits until it is gone: on
// Windows the program that it runs can't be removed before.
func endScriptSession(env *testscript.Env, s session.Session) {
	if info, err := portshare.Peek(s, app); err == nil && info.State == portshare.Listening {
		p, findErr := os.FindProcess(info.PID)
		quit := exec.Command("controller", "quit")
		quit.Env = env.Vars
		if quit.Run() != nil {
			kill(info.PID)
		}
		if findErr == nil {
			_, _ = p.Wait() // elsewhere it is nobody's child here, and this answers at once
		}
	}
	if dir, err := s.RuntimeDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
}

func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
		_, _ = p.Wait()
	}
}

func scriptSession(ts *testscript.TestScript) session.Session {
	s, err := session.Named(ts.Getenv("BERTH_SESSION"))
	ts.Check(err)
	return s
}

// patience bounds every wait of a script. Nothing takes so long; a hang does.
const patience = time.Minute

// cmdExits runs a program that must end with a certain exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("%s ended with %d, not with %s", strings.Join(args[1:], " "), code, args[0])
	}
}
