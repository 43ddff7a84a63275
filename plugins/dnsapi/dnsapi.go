package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

// What is called in a script: dns_NAME_add and dns_NAME_rm.
const (
	add    = "add"
	remove = "rm"
)

// dnsapi is the authenticator.
type dnsapi struct {
	settings settings
	source   source
	instance sdk.Instance

	mu sync.Mutex
	// added are records that this process has added and not removed, by name and
	// value: to add one again would make two of it at some providers.
	added map[string]bool
}

var _ interface {
	sdk.Authenticator
	sdk.Configurer
	sdk.SettingsDescriber
} = (*dnsapi)(nil)

// Configure finds the script and has the shell look at it.
func (d *dnsapi) Configure(ctx context.Context, i sdk.Instance) error {
	source, err := sourceOf(ctx, d.settings)
	if err != nil {
		return err
	}
	d.source, d.instance, d.added = source, i, map[string]bool{}
	return nil
}

// Perform adds all records in one shell, and waits.
func (d *dnsapi) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	b, err := d.begin(ctx, add, r)
	if err != nil {
		return err
	}
	defer b.end()
	var todo []sdk.Challenge
	for _, c := range challenges {
		if d.has(c) {
			r.Result(sdk.Result{Subject: c.ID})
			continue
		}
		todo = append(todo, c)
	}
	if len(todo) == 0 {
		return nil
	}
	if err := b.prepare(); err != nil {
		return err
	}
	some := false
	err = b.run(ctx, todo, func(c sdk.Challenge, err error, _ []string) {
		if err == nil {
			some = true
			d.keep(c, true)
		}
		r.Result(sdk.Result{Subject: c.ID, Err: err})
	})
	if err != nil || !some || d.settings.Wait == 0 {
		return err
	}
	r.Progress("", fmt.Sprintf("waiting %s for the name servers (setting wait)", d.settings.Wait))
	wait := time.NewTimer(d.settings.Wait)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gone finds what scripts say of a record that they do not find.
var gone = regexp.MustCompile(`(?i)\b(not (be )?found|could ?n[o']t find|cannot find|can't find|no (such )?(txt )?records?\b|` +
	`records? (does|do) not exist|nothing to (remove|delete|do)|already (gone|removed|deleted)|NXRRSET)`)

// perhapsGone finds the same in words that may mean something else too.
var perhapsGone = regexp.MustCompile(`(?i)\b(find|found|exists?|missing|nothing|already|empty|no .{0,30}record|record.?id)\b`)

// aRecord and elsewhere are what a line must speak of, and must not: that a zone, a
// login or a program is not found says nothing of the record.
var (
	aRecord   = regexp.MustCompile(`(?i)record|rrset|\btxt|\bentr(y|ies)\b`)
	elsewhere = regexp.MustCompile(`(?i)zone|domain|host|credential|token|password|user|command|api.?key|authori[sz]|` +
		`manually|\d+: \S+: not found`)
)

// dotted are names, which may have any of these words in them.
var dotted = regexp.MustCompile(`[\w-]+(\.[\w-]+)+`)

// isGone tells whether a script that failed says that there is no such record,
// rather than what kept it from looking. In doubt the record is still there: it is
// tried again.
func isGone(failed *failedError, said []string, words *regexp.Regexp) bool {
	if failed.status == notExecutable || failed.status == noSuchCommand {
		return false
	}
	return slices.ContainsFunc(said, func(line string) bool {
		line = dotted.ReplaceAllString(line, "NAME")
		return words.MatchString(line) && aRecord.MatchString(line) && !elsewhere.MatchString(line)
	})
}

// What a shell returns for a command that it cannot run (POSIX, XCU 2.8.2).
const (
	notExecutable = 126
	noSuchCommand = 127
)

// Cleanup removes all records in one shell. Many scripts remove the whole record
// set of a name, whatever the value: then the second removal of that name finds
// nothing, and some call that a failure.
func (d *dnsapi) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	b, err := d.begin(ctx, remove, r)
	if err != nil {
		return err
	}
	defer b.end()
	if err := b.prepare(); err != nil {
		return err
	}
	removed := map[string]bool{}
	return b.run(ctx, challenges, func(c sdk.Challenge, err error, said []string) {
		var failed *failedError
		if errors.As(err, &failed) && (isGone(failed, said, gone) || removed[c.DNS.Name] && isGone(failed, said, perhapsGone)) {
			r.Progress("", fmt.Sprintf("%s is gone already", c.DNS.Name))
			err = nil
		}
		if err == nil {
			removed[c.DNS.Name] = true
			d.keep(c, false)
		}
		r.Result(sdk.Result{Subject: c.ID, Err: err})
	})
}

func key(c sdk.Challenge) string { return c.DNS.Name + "\x00" + c.DNS.Value }

func (d *dnsapi) has(c sdk.Challenge) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.added[key(c)]
}

func (d *dnsapi) keep(c sdk.Challenge, there bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.added[key(c)] = there
}

// begin takes the instance's files for itself. The lock is the kernel's, so a
// process that dies lets go.
func (d *dnsapi) begin(ctx context.Context, action string, r sdk.Reporter) (*batch, error) {
	dir := d.instance.StateDir
	if err := os.MkdirAll(filepath.Join(dir, "domains"), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory for what the script keeps: %w", err)
	}
	lock, err := lockFile(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	b := &batch{dnsapi: d, action: action, reporter: r, lock: lock}
	if err := b.makeRun(); err != nil {
		b.end()
		return nil, err
	}
	return b, nil
}

func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock what the script keeps: %w", err)
	}
	// The kernel's blocking call cannot be cancelled.
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			_ = f.Close()
			return nil, fmt.Errorf("lock what the script keeps, %s: %w", path, err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		}
	}
}

// runPattern are directories of batches. One that is there when the lock is taken
// was left by a process that was killed.
const runPattern = "run-*"

func (b *batch) makeRun() error {
	dir := b.instance.StateDir
	left, err := filepath.Glob(filepath.Join(dir, runPattern))
	for _, old := range left {
		err = errors.Join(err, os.RemoveAll(old))
	}
	if err != nil {
		return fmt.Errorf("remove what a killed process left: %w", err)
	}
	if b.dir, err = os.MkdirTemp(dir, runPattern); err != nil {
		return fmt.Errorf("make a directory for the script: %w", err)
	}
	return nil
}

// end lets go of everything.
func (b *batch) end() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // the next one tries again
	}
	_ = b.lock.Close()
}

// prepare brings the account's settings up to date: those of acme.sh, and
// literals, which a later process is not given.
func (b *batch) prepare() error {
	a, err := openAccount(filepath.Join(b.instance.StateDir, "account.conf"))
	if err != nil {
		return err
	}
	before := fmt.Sprint(a.imported, a.vars)
	if path := b.settings.AccountConf; path != "" {
		words, err := a.takeOver(path, b.source.text)
		if before := a.imported != ""; err != nil && (!before || !errors.Is(err, fs.ErrNotExist)) {
			return err // without the file, what was taken over before is still here
		}
		for _, line := range words {
			b.reporter.Progress("", line)
		}
	}
	for name, value := range b.settings.Env {
		if value.Literal {
			a.set(name, string(value.Secret))
		}
	}
	if fmt.Sprint(a.imported, a.vars) != before {
		if err := a.save(); err != nil {
			return fmt.Errorf("keep the script's settings: %w", err)
		}
	}
	b.account = a
	return nil
}

// domainFile is where a script keeps what is about one certificate.
func (b *batch) domainFile(lineage string) string {
	safe := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, lineage)
	return filepath.Join(b.instance.StateDir, "domains", "of-"+safe+".conf")
}
