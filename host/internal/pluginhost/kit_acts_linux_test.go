package pluginhost

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk/plugintest"
)

// scene is what one act is done to.
type scene struct {
	// arg says to the plugin what it is done to.
	arg string
	// harm says whether it had its effect, and is asked when the plugin has
	// reported whether it is done, with its words. Nil: its word is all there is.
	harm func(told string, done bool) bool
}

// kitAct is something that a plugin may try. Each is tried in a sandbox, where it
// has to fail without effect, and without one, where it has to have its effect:
// or else the first would prove nothing.
type kitAct struct {
	// name is how docs/security.md calls it.
	name string
	// plugin of the kit that tries it, and what it is asked to do.
	plugin, act string
	scene       func(*testing.T, *kitWorld) scene
	// needs is the version of Landlock's interface without which nothing stops
	// it; 0: every kernel on which `sandbox: required` starts does.
	needs int
	// root: nobody else can do it anyway.
	root bool
}

// secretText is in everything that the kit must not read. The host does not know
// it and masks it nowhere.
var secretText = plugintest.Secret("of somebody else")

// file is the scene of an act on a file that holds a secret. What is read must
// hold it; other acts change it.
func file(path string) func(*testing.T, *kitWorld) scene {
	return func(t *testing.T, w *kitWorld) scene {
		whole := filepath.Join(w.base, path)
		if err := os.RemoveAll(whole); err != nil { // of the act before
			t.Fatal(err)
		}
		w.write(t, whole, secretText)
		before, err := os.Lstat(whole)
		if err != nil {
			t.Fatal(err)
		}
		return scene{whole, func(told string, _ bool) bool {
			now, err := os.ReadFile(whole)
			after, statErr := os.Lstat(whole)
			return strings.Contains(told, secretText) || err != nil || statErr != nil || string(now) != secretText ||
				after.Mode() != before.Mode() || !os.SameFile(before, after)
		}}
	}
}

// absent is the scene of an act that makes a file.
func absent(path string) func(*testing.T, *kitWorld) scene {
	return func(_ *testing.T, w *kitWorld) scene {
		whole := filepath.Join(w.base, path)
		return scene{whole, func(string, bool) bool {
			_, err := os.Lstat(whole)
			return err == nil
		}}
	}
}

// proc is the scene of reading what /proc tells of a process.
func proc(name, holds string, pid func(*testing.T, *kitWorld) int) func(*testing.T, *kitWorld) scene {
	return func(t *testing.T, w *kitWorld) scene {
		return scene{fmt.Sprintf("/proc/%d/%s", pid(t, w), name), func(told string, _ bool) bool { return strings.Contains(told, holds) }}
	}
}

func ownPid(*testing.T, *kitWorld) int { return os.Getpid() }

// victim is a process of the same user, outside all sandboxes, that lets everybody
// trace it. It cannot be waited for while it is traced, so it ends with the world.
func victim(t *testing.T, w *kitWorld) int {
	t.Helper()
	cmd := exec.Command(filepath.Join(w.plugins, binaryPrefix+"kit-net")) // "kit" replaces itself
	cmd.Env = []string{"SECRET=" + secretText, "KIT_VICTIM=1"}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // it ends with this process
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.atEnd = append(w.atEnd, func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatalf("the process that is to be traced is not ready: %v", err)
	}
	return cmd.Process.Pid
}

// listener is the scene of a connection to somebody who listens.
func listener(kind string) func(*testing.T, *kitWorld) scene {
	return func(t *testing.T, w *kitWorld) scene {
		network, address := "tcp4", "127.0.0.1:0"
		switch kind {
		case "unix":
			network, address = "unix", filepath.Join(w.base, "listener")
		case "abstract":
			network, address = "unix", fmt.Sprintf("@certwright-kit-%d-%d", os.Getpid(), time.Now().UnixNano())
		}
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		address = strings.Replace(l.Addr().String(), "@", "abstract:", 1)
		return scene{kind + " " + address, func(string, bool) bool {
			// Who comes first: the plugin, if it came at all, or this.
			mark, err := net.Dial(network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer mark.Close()
			if _, err := mark.Write([]byte("mark")); err != nil {
				t.Fatal(err)
			}
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			return first(t, conn) != "mark"
		}}
	}
}

// receiver is the scene of a datagram.
func receiver(t *testing.T, _ *kitWorld) scene {
	t.Helper()
	l, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return scene{"udp " + l.LocalAddr().String(), func(string, bool) bool {
		mark, err := net.Dial("udp4", l.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer mark.Close()
		if _, err := mark.Write([]byte("mark")); err != nil {
			t.Fatal(err)
		}
		return first(t, l.(net.Conn)) != "mark"
	}}
}

// mailbox is the scene of a datagram to a unix socket.
func mailbox(t *testing.T, w *kitWorld) scene {
	t.Helper()
	path := filepath.Join(w.base, "mailbox")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close()
		_ = os.Remove(path)
	})
	return scene{path, func(string, bool) bool {
		mark, err := net.Dial("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		defer mark.Close()
		if _, err := mark.Write([]byte("mark")); err != nil {
			t.Fatal(err)
		}
		return first(t, l) != "mark"
	}}
}

func first(t *testing.T, conn net.Conn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	words := make([]byte, 4)
	n, err := conn.Read(words)
	if err != nil {
		t.Fatal(err)
	}
	return string(words[:n])
}

// bound is the scene of listening at a port that the kernel chooses.
func bound(kind string) func(*testing.T, *kitWorld) scene {
	return func(t *testing.T, _ *kitWorld) scene {
		return scene{kind + " 127.0.0.1:0", func(told string, done bool) bool {
			if !done {
				return false
			}
			if kind == "udp" {
				return true // nobody answers; what counts is that it was bound
			}
			conn, err := net.Dial("tcp4", told)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			return true
		}}
	}
}

// signalled is the scene of a signal to the host.
func signalled(t *testing.T, _ *kitWorld) scene {
	t.Helper()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	t.Cleanup(func() { signal.Stop(signals) })
	return scene{fmt.Sprint(os.Getpid()), func(_ string, done bool) bool {
		if done {
			select {
			case <-signals:
				return true
			case <-time.After(time.Minute):
				return false
			}
		}
		// One that was sent comes before the last of several that are sent later.
		for range 5 {
			if err := syscall.Kill(os.Getpid(), syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			if <-signals == syscall.SIGUSR1 {
				return true
			}
		}
		return false
	}}
}

// pidOf is the scene of an act on a process.
func pidOf(pid func(*testing.T, *kitWorld) int, harm func(pid int) bool) func(*testing.T, *kitWorld) scene {
	return func(t *testing.T, w *kitWorld) scene {
		target := pid(t, w)
		s := scene{arg: fmt.Sprint(target)}
		if harm != nil {
			s.harm = func(string, bool) bool { return harm(target) }
		}
		return s
	}
}

func limited(pid int) bool {
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	return err != nil || regexp.MustCompile(`(?m)^Max open files +77 `).Match(limits)
}

func traced(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || !strings.Contains(string(status), "TracerPid:\t0\n")
}

// plain is the scene of an act that needs none.
func plain(arg string) func(*testing.T, *kitWorld) scene {
	return func(*testing.T, *kitWorld) scene { return scene{arg: arg} }
}

// ownBinary is the scene of an act on the plugin's own program.
func ownBinary(_ *testing.T, w *kitWorld) scene {
	path := filepath.Join(w.plugins, binaryPrefix+"kit")
	before, err := os.Stat(path)
	return scene{path, func(string, bool) bool {
		after, statErr := os.Stat(path)
		return err != nil || statErr != nil || !os.SameFile(before, after) || after.Size() != before.Size()
	}}
}

// kitActs are all of them, in the order of docs/security.md.
var kitActs = []kitAct{
	{name: "read the account key", plugin: "kit", act: "read", scene: file("state/accounts/ca/key.pem")},
	{name: "read another instance's secret file", plugin: "kit", act: "read", scene: file("etc/secret")},
	{name: "read another instance's state", plugin: "kit", act: "read", scene: file("state/plugins/another/file")},
	{name: "read the account key, granted all files", plugin: "kit-read", act: "read", scene: file("state/accounts/ca/key.pem")},
	{name: "read another instance's state, granted all files", plugin: "kit-read", act: "read", scene: file("state/plugins/another/file")},
	{name: "read it by a hard link", plugin: "kit", act: "hard link", scene: file("etc/secret")},
	{name: "read it by a symbolic link", plugin: "kit", act: "symlink", scene: file("etc/secret")},
	{name: "list a directory", plugin: "kit", act: "list", scene: func(_ *testing.T, w *kitWorld) scene { return scene{arg: w.base} }},
	{name: "read the host's environment", plugin: "kit", act: "read", scene: proc("environ", "PATH=", ownPid)},
	{name: "read another plugin's environment", plugin: "kit", act: "read", scene: proc("environ", "PLUGIN_", another)},
	{name: "read the environment of its user's processes", plugin: "kit-children", act: "read", scene: proc("environ", secretText, victim)},
	{name: "write outside", plugin: "kit", act: "write", scene: absent("outside")},
	{name: "overwrite", plugin: "kit", act: "write", scene: file("etc/secret")},
	{name: "truncate", plugin: "kit", act: "truncate", scene: file("etc/secret")},
	{name: "remove", plugin: "kit", act: "remove", scene: file("etc/secret")},
	{name: "move to itself", plugin: "kit", act: "take", scene: file("etc/secret")},
	{name: "make a key readable by all", plugin: "kit", act: "chmod", scene: file("state/accounts/ca/key.pem")},
	{name: "make it readable, with files to write", plugin: "kit-write", act: "chmod", scene: file("state/accounts/ca/key.pem")},
	{name: "make it readable when it is open", plugin: "kit-write", act: "chmod open", scene: file("state/accounts/ca/key.pem")},
	{name: "replace its own binary", plugin: "kit", act: "replace", scene: ownBinary},
	{name: "connect by TCP without network", plugin: "kit", act: "connect", scene: listener("tcp")},
	{name: "connect to another TCP port", plugin: "kit-net", act: "connect", scene: listener("tcp")},
	{name: "connect by MPTCP", plugin: "kit-net", act: "connect", scene: listener("mptcp")},
	{name: "send a datagram", plugin: "kit-net", act: "connect", scene: receiver},
	{name: "send a datagram, with UDP granted", plugin: "kit-udp", act: "connect", scene: receiver, needs: never},
	{name: "listen by TCP", plugin: "kit-net", act: "listen", scene: bound("tcp")},
	{name: "listen by TCP without bind", plugin: "kit-net", act: "listen without bind", scene: bound("tcp"), needs: never},
	{name: "listen by MPTCP", plugin: "kit-net", act: "listen", scene: bound("mptcp")},
	{name: "listen by UDP", plugin: "kit-net", act: "listen", scene: bound("udp")},
	{name: "connect to an abstract unix socket", plugin: "kit", act: "connect", scene: listener("abstract")},
	{name: "connect to an abstract unix socket, with network", plugin: "kit-net", act: "connect", scene: listener("abstract"), needs: 6},
	{name: "connect to a unix socket", plugin: "kit", act: "connect", scene: listener("unix")},
	{name: "connect to a unix socket, with network", plugin: "kit-net", act: "connect", scene: listener("unix"), needs: 9},
	{name: "send a datagram to a unix socket", plugin: "kit", act: "letter", scene: mailbox},
	{name: "start another program", plugin: "kit", act: "execute", scene: plain("/bin/true")},
	{name: "signal the host", plugin: "kit", act: "signal", scene: signalled},
	{name: "have a descriptor signal the host", plugin: "kit", act: "signal by", scene: signalled},
	{name: "signal the host, with children", plugin: "kit-children", act: "signal", scene: signalled, needs: 6},
	{name: "limit its user's processes", plugin: "kit", act: "limit", scene: pidOf(victim, limited)},
	{name: "limit its user's processes, with children", plugin: "kit-children", act: "limit", scene: pidOf(victim, limited)},
	{name: "trace its user's processes", plugin: "kit", act: "trace", scene: pidOf(victim, traced)},
	{name: "trace its user's processes, with children", plugin: "kit-children", act: "trace", scene: pidOf(victim, traced)},
	{name: "look into the memory of its user's processes", plugin: "kit", act: "peek", scene: pidOf(victim, nil)},
	{name: "enter a namespace of its own", plugin: "kit", act: "namespace", scene: plain(""), root: true},
	{name: "use the kernel's keyrings", plugin: "kit", act: "keyring", scene: plain("")},
	{name: "write a file beyond its limit", plugin: "kit", act: "grow", scene: plain(fmt.Sprint(1 << 30))},
	{name: "use memory beyond its limit", plugin: "kit", act: "allocate", scene: plain(fmt.Sprint(4 << 30))},
	{name: "reserve addresses beyond its limit", plugin: "kit", act: "allocate", scene: plain(fmt.Sprint(1 << 40))},
}

// refusedByMachine are errors of acts that a machine may refuse to everybody, by its
// settings or because it is a container: there nothing can be proven of them.
var refusedByMachine = map[string][]string{
	// kernel.yama.ptrace_scope 2 and 3, seccomp profiles of containers
	"trace its user's processes":                   {"EPERM"},
	"trace its user's processes, with children":    {"EPERM"},
	"look into the memory of its user's processes": {"EPERM", "ENOSYS"},
	"read the environment of its user's processes": {"EACCES", "EPERM"},
	"enter a namespace of its own":                 {"EPERM", "ENOSYS"},
	"use the kernel's keyrings":                    {"EPERM", "ENOSYS", "EDQUOT"},
	"connect by MPTCP":                             {"EPROTONOSUPPORT", "ENOPROTOOPT"}, // net.mptcp.enabled
	"listen by MPTCP":                              {"EPROTONOSUPPORT", "ENOPROTOOPT"},
	"use memory beyond its limit":                  {"ENOMEM"}, // vm.overcommit_memory 2, ulimit -v
	"reserve addresses beyond its limit":           {"ENOMEM"},
	"write a file beyond its limit":                {"EFBIG"}, // ulimit -f
}

// possible are those that the user of this process can do without a sandbox.
func possible(uid int) []kitAct {
	return slices.DeleteFunc(slices.Clone(kitActs), func(a kitAct) bool { return a.root && uid != 0 })
}

// never stands for a version of Landlock that would stop it and that this program
// does not ask for: it was granted.
const never = 1 << 10
