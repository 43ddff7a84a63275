package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Descriptors that Start hands to the launcher, after the three standard ones.
const (
	policyFD = 3
	binaryFD = 4
)

// exitLaunch is the launcher's own exit code: what shells use for a command
// that was found but could not be executed.
const exitLaunch = 126

// maxPolicy bounds what the launcher reads.
const maxPolicy = 1 << 20

// RunIfLauncher becomes the plugin if the process was started as a launcher,
// and then does not return. Otherwise it sees to it that this process leaves no
// core file either, and returns.
func RunIfLauncher() {
	if len(os.Args) != 2 || os.Args[1] != launcherMode {
		leaveNoCore()
		ready.Store(true)
		return
	}
	// The parent death signal belongs to a thread, and exec keeps that of the
	// thread that calls it: stay on one.
	runtime.LockOSThread()
	if err := launch(); err != nil {
		fmt.Fprintf(os.Stderr, "certwright launcher: %v\n", err)
	}
	os.Exit(exitLaunch)
}

// noCore is the limit at which the kernel writes no core file and gives none to
// a program either: 0 is for files only, and 1 stands for both (fs/coredump.c).
const noCore = 1

// leaveNoCore is for the host, which holds keys and secrets. What the user has it
// run may have its own limit.
func leaveNoCore() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &limit) == nil && limit.Max > 0 {
		limit.Cur = noCore
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &limit) // lowering is always allowed
	}
}

func launch() error {
	p, err := readPolicy(os.NewFile(policyFD, "policy"))
	if err != nil {
		return fmt.Errorf("read the launch policy: %w", err)
	}
	if err := p.restrict(); err != nil {
		return fmt.Errorf("restrict plugin %s: %w", p.Path, err)
	}
	err = syscall.Exec("/proc/self/fd/"+strconv.Itoa(binaryFD), p.Args, os.Environ())
	return fmt.Errorf("execute %s: %w%s", p.Path, err, execAdvice(err, p.Script))
}

func readPolicy(f *os.File) (Policy, error) {
	var p Policy
	if f == nil {
		return p, errors.New("there is none: this mode is for certwright's own use")
	}
	defer f.Close()
	dec := json.NewDecoder(io.LimitReader(f, maxPolicy))
	// A restriction that this launcher does not know must not be dropped.
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, fmt.Errorf("%w (this mode is for certwright's own use)", err)
	}
	if len(p.Args) == 0 {
		return p, errors.New("it has no arguments")
	}
	return p, nil
}

// restrict takes on, for good, what the policy demands. What needs rights or
// looks at files comes before what takes them away.
func (p Policy) restrict() error {
	parent := unix.Getppid()
	if err := closeOthers(p.Script); err != nil {
		return fmt.Errorf("close the descriptors that are not for it: %w", err)
	}
	var rules ruleset
	var calls *filter
	if c := p.Confinement; c != nil {
		if p.Kernel.Landlock > 0 {
			var err error
			if rules, err = newRuleset(p.Kernel.Landlock, *c); err != nil {
				return err
			}
		}
		if p.Kernel.Seccomp {
			calls = newFilter(*c, unix.Getpid())
		}
	}
	if err := p.privileges(); err != nil {
		return err
	}
	// A change of user ends this; so it comes after one. The parent may have
	// ended before.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the parent death signal: %w", err)
	}
	if unix.Getppid() != parent {
		return errors.New("its host has ended")
	}
	if p.Confinement != nil {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
		if p.Kernel.Landlock > 0 {
			if err := rules.enforce(); err != nil {
				return err
			}
		}
	}
	if err := p.Limits.set(); err != nil {
		return err
	}
	if calls != nil {
		return calls.install()
	}
	return nil
}

// privileges gives up those of root that the program does without.
func (p Policy) privileges() error {
	if p.User != nil {
		if err := become(*p.User, p.Confinement != nil && p.Confinement.Bind.privileged()); err != nil {
			return err
		}
		return p.User.reaches()
	}
	if p.Confinement != nil {
		return keepCapabilities(p.Confinement.capabilities(), unix.Geteuid() == 0)
	}
	return nil
}

// set lowers the limits. Core files would hold keys and secrets.
func (l Limits) set() error {
	for _, limit := range []struct {
		name     string
		resource int
		value    uint64
		always   bool
	}{
		{"core files", unix.RLIMIT_CORE, noCore, true},
		{"the size of files", unix.RLIMIT_FSIZE, l.FileSize, false},
		{"open files", unix.RLIMIT_NOFILE, l.OpenFiles, false},
		{"processes", unix.RLIMIT_NPROC, l.Processes, false},
		{"memory", unix.RLIMIT_DATA, l.Data, false},
		{"the address space", unix.RLIMIT_AS, l.AddressSpace, false},
	} {
		if limit.value == 0 && !limit.always {
			continue
		}
		var have unix.Rlimit
		err := unix.Getrlimit(limit.resource, &have)
		if err == nil {
			err = unix.Setrlimit(limit.resource, &unix.Rlimit{Cur: min(limit.value, have.Max), Max: min(limit.value, have.Max)})
		}
		if err != nil {
			return fmt.Errorf("set the limit of %s: %w", limit.name, err)
		}
	}
	return nil
}

// closeOthers lets exec close all but the three standard files: what the host
// was started with, by a shell or a service manager, is not for plugins.
func closeOthers(keepBinary bool) error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			return err
		}
		if fd > 2 && (fd != binaryFD || !keepBinary) {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

func execAdvice(err error, script bool) string {
	switch {
	case errors.Is(err, unix.ENOEXEC):
		return ": it is no program for this machine; install the build for linux/" + runtime.GOARCH
	case errors.Is(err, unix.ENOENT) && script:
		return ": install the interpreter that its first line names"
	case errors.Is(err, unix.ENOENT):
		return ": install the dynamic loader that it needs, and see that /proc is mounted"
	case errors.Is(err, unix.EACCES):
		return ": make it executable, and see that its file system is not mounted noexec"
	}
	return ""
}
