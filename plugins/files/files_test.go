package main

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

func allIn(dir string) settings {
	return settings{
		Cert: filepath.Join(dir, "cert.pem"), Chain: filepath.Join(dir, "chain.pem"),
		Fullchain: filepath.Join(dir, "fullchain.pem"), Key: filepath.Join(dir, "key.pem"),
		Combined: filepath.Join(dir, "combined.pem"),
	}
}

func TestEveryFileWithItsMode(t *testing.T) {
	dir := t.TempDir()
	s := allIn(dir)
	s.CombinedOrder, s.KeyMode = "key,cert,chain", "0640"
	d := certificate(t, "a.test")
	c := deployed(t, configured(t, s, t.TempDir()), d)
	equal(t, string(d.LeafPEM), read(t, s.Cert))
	equal(t, string(d.ChainPEM), read(t, s.Chain))
	equal(t, string(d.FullchainPEM), read(t, s.Fullchain))
	equal(t, string(d.KeyPEM), read(t, s.Key))
	equal(t, string(d.KeyPEM)+string(d.FullchainPEM), read(t, s.Combined))
	for path, want := range map[string]os.FileMode{
		s.Cert: 0o644, s.Chain: 0o644, s.Fullchain: 0o644, s.Key: 0o640, s.Combined: 0o640,
	} {
		info, err := os.Stat(path)
		must(t, err)
		equal(t, want, info.Mode())
	}
	if _, err := tls.LoadX509KeyPair(s.Combined, s.Combined); err != nil {
		t.Errorf("a server could not use the combined file: %v", err)
	}
	if c.ID == "" || len(c.Files) != 5 {
		t.Errorf("checkpoint %+v", c)
	}
}

func TestOwner(t *testing.T) {
	dir := t.TempDir()
	s := settings{Key: filepath.Join(dir, "key.pem"), Owner: "4321:8765"}
	f := configured(t, s, t.TempDir())
	_, _, err := deploy(t.Context(), f, certificate(t, "a.test"))
	if os.Geteuid() != 0 {
		wantError(t, err, sdk.PermissionDenied, "run certwright as root")
		equal(t, 0, len(look(t, dir)))
		return
	}
	must(t, err)
	info, err := os.Stat(s.Key)
	must(t, err)
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid != 4321 || st.Gid != 8765 || info.Mode() != 0o600 {
		t.Errorf("%+v %s", st, info.Mode())
	}
}

// Nothing is on disk before Save, and nothing is written that is there already.
func TestStagedThenSavedThenUnchanged(t *testing.T) {
	dir := t.TempDir()
	f := configured(t, allIn(dir), t.TempDir())
	d := certificate(t, "a.test")
	r := &recorder{}
	must(t, f.Deploy(during(t.Context(), "a.test", "deploy"), d, r))
	equal(t, 0, len(look(t, dir)))
	equal(t, true, r.results[0].Changed)

	_, results, err := deploy(t.Context(), f, d)
	must(t, err)
	// The second name finds the files written, but they are part of this change.
	for _, result := range results {
		equal(t, true, result.Changed)
	}
	before := look(t, dir)
	c, results, err := deploy(t.Context(), f, d)
	must(t, err)
	equal(t, sdk.Checkpoint{}, c)
	for _, result := range results {
		equal(t, false, result.Changed)
	}
	equal(t, before, look(t, dir))

	// A mode that drifted is a change.
	must(t, os.Chmod(filepath.Join(dir, "key.pem"), 0o644))
	c = deployed(t, f, d)
	equal(t, 1, len(c.Files))
	info, err := os.Stat(filepath.Join(dir, "key.pem"))
	must(t, err)
	equal(t, os.FileMode(0o600), info.Mode())
}

func TestRollbackBringsEverythingBack(t *testing.T) {
	dir := t.TempDir()
	s := allIn(dir)
	past := time.Date(2021, 3, 4, 5, 6, 7, 8000, time.UTC)
	put(t, s.Cert, "an older certificate", 0o604)
	put(t, filepath.Join(dir, "real.pem"), "an older key", 0o640)
	must(t, os.Symlink("real.pem", s.Key))
	for _, p := range []string{s.Cert, filepath.Join(dir, "real.pem")} {
		if os.Geteuid() == 0 {
			must(t, os.Chown(p, 1234, 5678))
		}
		must(t, os.Chtimes(p, past, past))
	}
	states := []tree{look(t, dir)}
	f := configured(t, s, t.TempDir())
	for range 3 {
		deployed(t, f, certificate(t, "a.test"))
		states = append(states, look(t, dir))
	}
	if link, err := os.Readlink(s.Key); err != nil || link != "real.pem" {
		t.Errorf("the symlink is now %q, %v", link, err)
	}
	back := func(count int, step string, want tree) {
		t.Helper()
		must(t, f.Rollback(during(t.Context(), "a.test", step), count, &recorder{}))
		equal(t, want, look(t, dir))
	}
	back(0, "rollback 0", states[3])
	back(1, "rollback 1", states[2])
	back(1, "rollback 1", states[2]) // the same operation again
	back(7, "rollback 7", states[0])
	wantError(t, f.Rollback(t.Context(), -1, &recorder{}), sdk.InvalidConfig, "negative")
}

func TestRollbackDropsWhatIsStagedOrSaved(t *testing.T) {
	dir := t.TempDir()
	f := configured(t, allIn(dir), t.TempDir())
	d := certificate(t, "a.test")
	r := &recorder{}
	ctx := during(t.Context(), "a.test", "x")
	must(t, f.Deploy(ctx, d, r))
	must(t, f.Rollback(ctx, 0, r))
	_, err := f.Save(ctx, sdk.SaveRequest{Title: "title"}, r)
	must(t, err)
	equal(t, 0, len(look(t, dir)))

	must(t, f.Deploy(ctx, d, r))
	_, err = f.Save(ctx, sdk.SaveRequest{}, r)
	must(t, err)
	equal(t, 5, len(look(t, dir)))
	must(t, f.Rollback(ctx, 0, r))
	equal(t, 0, len(look(t, dir)))
}

func TestSaveAgainGivesTheSameCheckpoint(t *testing.T) {
	state := t.TempDir()
	f := configured(t, allIn(t.TempDir()), state)
	first := deployed(t, f, certificate(t, "a.test"))
	again, err := f.Save(during(t.Context(), "a.test", "save"), sdk.SaveRequest{Title: first.Title}, &recorder{})
	must(t, err)
	equal(t, first, again)
	// So does a process that follows one that was killed.
	next := configured(t, f.settings, state)
	again, err = next.Save(during(t.Context(), "a.test", "save"), sdk.SaveRequest{Title: first.Title}, &recorder{})
	must(t, err)
	equal(t, first.ID, again.ID)
	equal(t, true, slices.Equal(first.Files, again.Files))
	for _, other := range []context.Context{
		during(t.Context(), "a.test", "another save"), sdk.WithOperation(t.Context(), sdk.Operation{ID: "a.test/files/save", Lineage: "b.test"}),
	} {
		c, err := next.Save(other, sdk.SaveRequest{Title: first.Title}, &recorder{})
		must(t, err)
		equal(t, sdk.Checkpoint{}, c)
	}
	list, err := f.edits.Store().List()
	must(t, err)
	equal(t, 1, len(list))
	c, err := f.Save(during(t.Context(), "a.test", "other"), sdk.SaveRequest{Temporary: true}, &recorder{})
	must(t, err)
	equal(t, sdk.Checkpoint{}, c)
}

// A failure at any file takes the others back, and there is no checkpoint.
func TestSaveFails(t *testing.T) {
	for _, at := range []string{"key.pem", "chain.pem", "combined.pem"} {
		t.Run(at, func(t *testing.T) {
			dir := t.TempDir()
			s := allIn(dir)
			put(t, s.Key, "old key", 0o600)
			put(t, s.Cert, "old cert", 0o644)
			before := look(t, dir)
			f := configured(t, s, t.TempDir())
			blocked := filepath.Join(dir, at)
			hit := false
			f.edits.Store().Step = func(what string) {
				if what == "place: rename to "+blocked && !hit {
					hit = true
					_ = os.Remove(blocked)
					must(t, os.Mkdir(blocked, 0o755)) // a file cannot be renamed onto it
					must(t, os.Mkdir(filepath.Join(blocked, "x"), 0o755))
				}
			}
			_, _, err := deploy(t.Context(), f, certificate(t, "a.test"))
			if err == nil || !strings.Contains(err.Error(), blocked) {
				t.Fatalf("error %v", err)
			}
			f.edits.Store().Step = nil
			must(t, os.RemoveAll(blocked))
			must(t, f.Rollback(during(t.Context(), "a.test", "rollback"), 0, &recorder{}))
			equal(t, before, look(t, dir))
			list, err := f.edits.Store().List()
			must(t, err)
			equal(t, 0, len(list))
		})
	}
}

// A cancelled Save leaves nothing, whenever it was cancelled.
func TestSaveCancelled(t *testing.T) {
	steps := 0
	for n := 1; ; n++ {
		dir := t.TempDir()
		f := configured(t, allIn(dir), t.TempDir())
		ctx, cancel := context.WithCancel(during(t.Context(), "a.test", "x"))
		must(t, f.Deploy(ctx, certificate(t, "a.test"), &recorder{}))
		i := 0
		f.edits.Store().Step = func(string) {
			if i++; i == n {
				cancel()
			}
		}
		_, err := f.Save(ctx, sdk.SaveRequest{Title: "title"}, &recorder{})
		cancel()
		if err == nil {
			if i >= n {
				t.Fatalf("step %d: it was cancelled and gives no error", n)
			}
			if steps < 20 {
				t.Fatalf("only %d steps", steps)
			}
			return
		}
		steps++
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("step %d: %v", n, err)
		}
		equal(t, 0, len(look(t, dir)))
		list, err := f.edits.Store().List()
		must(t, err)
		equal(t, 0, len(list))
	}
}

func TestTwoCertificatesAtOnce(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.test", "b.test"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	s := settings{Key: filepath.Join(dir, "{name}", "key.pem"), Fullchain: filepath.Join(dir, "{name}", "{name}.pem")}
	f := configured(t, s, t.TempDir())
	a, b := certificate(t, "a.test"), certificate(t, "b.test")
	var both sync.WaitGroup
	for _, d := range []sdk.Deployment{a, b} {
		both.Go(func() {
			if _, _, err := deploy(t.Context(), f, d); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	equal(t, string(a.FullchainPEM), read(t, filepath.Join(dir, "a.test", "a.test.pem")))
	equal(t, string(b.KeyPEM), read(t, filepath.Join(dir, "b.test", "key.pem")))
	equal(t, 4, len(look(t, dir)))

	// Taking one back leaves the other, whichever is newer.
	must(t, f.Rollback(during(t.Context(), "a.test", "rollback"), 1, &recorder{}))
	equal(t, 2, len(look(t, filepath.Join(dir, "b.test"))))
	equal(t, 0, len(look(t, filepath.Join(dir, "a.test"))))
	// Without a lineage it is the newest of all.
	must(t, f.Rollback(t.Context(), 1, &recorder{}))
	equal(t, 0, len(look(t, dir)))
}

func TestTwoCertificatesInOneFile(t *testing.T) {
	f := configured(t, settings{Cert: filepath.Join(t.TempDir(), "cert.pem")}, t.TempDir())
	deployed(t, f, certificate(t, "a.test"))
	_, _, err := deploy(t.Context(), f, certificate(t, "b.test"))
	wantError(t, err, sdk.Conflict, "a.test", "write {name} into the setting cert")
}

func TestDeployIsRefused(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "real.pem"), 0o755))
	put(t, filepath.Join(dir, "file.pem"), "x", 0o600)
	must(t, os.Symlink("file.pem", filepath.Join(dir, "link.pem")))
	for _, tt := range []struct {
		name   string
		s      settings
		change func(*sdk.Deployment)
		code   sdk.Code
		say    string
	}{
		{"no directory", settings{Cert: dir + "/{name}/c.pem"}, nil, sdk.NotFound, "create " + dir + "/real.pem2"},
		{"a directory", settings{Cert: dir + "/{name}"}, func(d *sdk.Deployment) { d.Lineage = "real.pem" }, sdk.Internal, "is a directory"},
		{"no key", settings{Key: dir + "/k.pem"}, func(d *sdk.Deployment) { d.KeyPEM = nil }, sdk.Internal, "has handed over no key"},
		{"a strange name", settings{Cert: dir + "/{name}"}, func(d *sdk.Deployment) { d.Lineage = "../x" }, sdk.Internal, "cannot be part of a path"},
		{"one file twice", settings{Cert: dir + "/file.pem", Key: dir + "/link.pem"}, nil, sdk.Conflict, "same file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := certificate(t, "real.pem2")
			if tt.change != nil {
				tt.change(&d)
			}
			before := look(t, dir)
			_, _, err := deploy(t.Context(), configured(t, tt.s, t.TempDir()), d)
			wantError(t, err, tt.code, tt.say)
			equal(t, before, look(t, dir))
		})
	}
}

func TestEndpoints(t *testing.T) {
	s := settings{
		Cert:      filepath.Join(t.TempDir(), "{name}"),
		Endpoints: []string{"127.0.0.1:443", "smtp://{name}:25", "imap://[::1]:143", "pop3://h:110", "tls://h:1"},
	}
	_, results, err := deploy(t.Context(), configured(t, s, t.TempDir()), certificate(t, "a.test"))
	must(t, err)
	equal(t, []sdk.Endpoint{
		{Address: "127.0.0.1:443", Kind: sdk.TLS}, {Address: "a.test:25", Kind: sdk.SMTP},
		{Address: "[::1]:143", Kind: sdk.IMAP}, {Address: "h:110", Kind: sdk.POP3}, {Address: "h:1", Kind: sdk.TLS},
	}, results[0].Endpoints)
}
