package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/certwright/certwright/sdk"
)

const pluginName = "certwright-plugin-pritunl"

// asPlugin: the test binary, under the name of the plugin, is the plugin with
// steps at which it is killed. The host starts it as it does the real one.
func asPlugin() {
	path := os.Args[0]
	if filepath.Base(path) != pluginName {
		return
	}
	p := newPritunl()
	k := killing{path: filepath.Join(filepath.Dir(path), "fault")}
	p.step = k.step
	sdk.Serve(declaration(p))
	os.Exit(0)
}

// killing is read from a file of one line, "plugin N": at the N-th step the plugin
// is killed, or "host N": the host before it. The file is removed, so that it
// happens once, and what happened is in a file beside it.
type killing struct {
	mu    sync.Mutex // steps come side by side
	path  string
	count int
}

func (k *killing) step(what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count++
	data, err := os.ReadFile(k.path)
	if err != nil {
		return
	}
	victim, rest, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	if n, err := strconv.Atoi(rest); err != nil || n != k.count {
		return
	}
	_ = os.WriteFile(k.path+".hit", []byte(fmt.Sprintf("%d %s", k.count, what)), 0o600)
	_ = os.Remove(k.path)
	if victim == "host" {
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}
