package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// landlockConfigs restrict all that their version of the interface can. The first
// is not used, see abiFiles.
var landlockConfigs = []landlock.Config{
	landlock.V1, landlock.V2, landlock.V3, landlock.V4, landlock.V5, landlock.V6,
	landlock.V7, landlock.V8, landlock.V9, landlock.V10, landlock.V11,
}

// Rights of a path, as far as the interface knows them.
const (
	rightsRead    = landlock.AccessFSSet(llsys.AccessFSReadFile | llsys.AccessFSReadDir)
	rightsExecute = rightsRead | llsys.AccessFSExecute
	// Devices are not made.
	rightsWrite = rightsRead | llsys.AccessFSWriteFile | llsys.AccessFSTruncate | llsys.AccessFSRefer |
		llsys.AccessFSMakeReg | llsys.AccessFSMakeDir | llsys.AccessFSMakeSym | llsys.AccessFSMakeSock | llsys.AccessFSMakeFifo |
		llsys.AccessFSRemoveFile | llsys.AccessFSRemoveDir
	// rightsOfFile are those that mean something for what is no directory.
	rightsOfFile = landlock.AccessFSSet(llsys.AccessFSReadFile | llsys.AccessFSWriteFile | llsys.AccessFSExecute |
		llsys.AccessFSTruncate | llsys.AccessFSIoctlDev | llsys.AccessFSResolveUnix)
)

// landlockConfig is exact: on a kernel that lacks a part of it the launch fails.
func landlockConfig(abi int, c Confinement) landlock.Config {
	cfg := landlockConfigs[abi-1]
	if c.Signals {
		cfg.Scoped &^= llsys.ScopeSignal
	}
	if c.abstract() {
		cfg.Scoped &^= llsys.ScopeAbstractUnixSocket
	}
	if c.Connect.Any {
		cfg.HandledAccessNet &^= llsys.AccessNetConnectTCP
	}
	if c.Bind.Any {
		cfg.HandledAccessNet &^= llsys.AccessNetBindTCP
	}
	if c.UDP {
		cfg.HandledAccessNet &^= llsys.AccessNetBindUDP | llsys.AccessNetConnectSendUDP
	}
	if abi >= abiLog {
		// Denials are in the audit log, where there is one.
		cfg = cfg.EnableLoggingForSubprocesses()
	}
	return cfg
}

// landlockRules are for the paths that exist.
func landlockRules(cfg landlock.Config, c Confinement) ([]landlock.Rule, error) {
	var rules []landlock.Rule
	var errs []error
	path := func(rights landlock.AccessFSSet, path string) {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, fs.ErrPermission) {
			return // what the host cannot reach is not granted
		}
		if err != nil {
			errs = append(errs, err)
			return
		}
		if !info.IsDir() {
			rights &= rightsOfFile
		}
		if rights &= cfg.HandledAccessFS; rights != 0 {
			rules = append(rules, landlock.PathAccess(rights, path).IgnoreIfMissing())
		}
	}
	for _, p := range c.Read {
		path(rightsRead, p)
	}
	for _, p := range c.Write {
		path(rightsWrite, p)
	}
	for _, p := range c.Execute {
		path(rightsExecute, p)
	}
	for _, p := range c.UnixSockets {
		if !strings.HasPrefix(p, "@") {
			path(llsys.AccessFSResolveUnix, p)
		}
	}
	// What is executed is this, whatever is at its path.
	path(rightsExecute, "/proc/self/fd/"+strconv.Itoa(binaryFD))
	if cfg.HandledAccessNet&llsys.AccessNetConnectTCP != 0 {
		for _, port := range c.Connect.List {
			rules = append(rules, landlock.ConnectTCP(port))
		}
	}
	if cfg.HandledAccessNet&llsys.AccessNetBindTCP != 0 {
		for _, port := range c.Bind.List {
			rules = append(rules, landlock.BindTCP(port))
		}
	}
	return rules, errors.Join(errs...)
}

// ruleset is a set of Landlock rules that is not enforced yet.
type ruleset struct {
	fd    int
	flags uint32
}

func newRuleset(abi int, c Confinement) (ruleset, error) {
	cfg := landlockConfig(abi, c)
	rules, err := landlockRules(cfg, c)
	if err != nil {
		return ruleset{}, fmt.Errorf("make the Landlock rules: %w", err)
	}
	fd, flags, err := cfg.NewRulesetFD(rules...)
	if err != nil {
		return ruleset{}, fmt.Errorf("make the Landlock rules: %w", err)
	}
	return ruleset{fd, flags}, nil
}

// enforce restricts this thread alone: it is the one that calls exec, which ends
// the others. All threads at once would need a newer kernel, or libpsx, which
// looks for them in /proc.
func (r ruleset) enforce() error {
	if err := llsys.LandlockRestrictSelf(r.fd, r.flags); err != nil {
		return fmt.Errorf("enforce the Landlock rules: %w", err)
	}
	return unix.Close(r.fd)
}
