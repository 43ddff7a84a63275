package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary is its own second process: CERTWRIGHT_STORE_CHILD names what
// it does then, instead of running tests.
const childVar = "CERTWRIGHT_STORE_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		if err := child(os.Args[1:]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child runs "ACTION DIR LIMIT KILL": an action on a store, killed at the KILLth
// step (counted from 1), with a limit on the size of files.
func child(args []string) error {
	action, dir := args[0], args[1]
	limit, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	kill, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	s, err := Open(dir)
	if err != nil {
		return err
	}
	count := 0
	s.step = func(step string) {
		if count++; count == kill {
			fmt.Println("killed at", step)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if limit >= 0 {
		signal.Ignore(syscall.SIGXFSZ)
		var size unix.Rlimit
		setRlimit(&size.Cur, limit)
		setRlimit(&size.Max, limit)
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &size); err != nil {
			return err
		}
	}
	switch action {
	case "commit":
		return commitPrepared(s)
	case "repair":
		_, err = s.Repair(testName)
		return err
	case "delete":
		return s.Delete(testName)
	case "drop":
		return s.DropOrder(testName, "o2")
	case "newkey":
		_, err = s.NewKey(testName, "o2", "")
		return err
	case "account":
		_, err = s.PendingAccountKey("main")
		return err
	case "rollover":
		if _, err := s.NewAccountKey(testAccount); err != nil {
			return err
		}
		return s.SwitchAccountKey(testAccount)
	case "give-up":
		if _, err := s.NewAccountKey(testAccount); err != nil {
			return err
		}
		return s.DropAccountKey(testAccount)
	case "unregister":
		return s.DeleteAccount(testAccount)
	case "hold":
		unlock, err := s.Lock(context.Background(), LineageLock(testName), true)
		if err != nil {
			return err
		}
		defer unlock()
		fmt.Println("held")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until our parent wants, or is gone
		return nil
	}
	return fmt.Errorf("unknown action %s", action)
}

// setRlimit serves both kinds of systems: the fields are unsigned on Linux and
// signed on FreeBSD.
func setRlimit[N int64 | uint64](field *N, limit int64) { *field = N(limit) }

// runChild gives what the child printed and whether it was killed.
func runChild(t *testing.T, action, dir string, limit int64, kill int) (out string, killed bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := childCommand(ctx, t, action, dir, limit, kill)
	b, err := cmd.Output()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ctx.Err() != nil {
		t.Fatalf("child %s: %v", action, ctx.Err())
	}
	return strings.TrimSpace(string(b)), status.Signaled(), err
}

func childCommand(ctx context.Context, t *testing.T, action, dir string, limit int64, kill int) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, exe, action, dir, strconv.FormatInt(limit, 10), strconv.Itoa(kill))
	cmd.Env = append(os.Environ(), childVar+"=1")
	cmd.Stderr = os.Stderr
	return cmd
}
