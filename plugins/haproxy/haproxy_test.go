package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk"
)

const title = "Deployed ACME Certificate"

func during(ctx context.Context, lineage, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: lineage + "/haproxy/" + step, Lineage: lineage, Attempt: 1})
}

// stage does what the host does up to the checkpoint.
func stage(ctx context.Context, h *haproxy, d sdk.Deployment, run string, r sdk.Reporter) (sdk.Checkpoint, error) {
	for _, name := range d.Names {
		d.Name = name
		if err := h.Deploy(during(ctx, d.Lineage, run+" deploy "+name), d, r); err != nil {
			return sdk.Checkpoint{}, err
		}
		if _, err := h.Save(during(ctx, d.Lineage, run+" save "+name), sdk.SaveRequest{}, r); err != nil {
			return sdk.Checkpoint{}, err
		}
	}
	return h.Save(during(ctx, d.Lineage, run+" save"), sdk.SaveRequest{Title: title}, r)
}

// deployed does all that the host does.
func deployed(t *testing.T, h *haproxy, d sdk.Deployment, run string) sdk.Checkpoint {
	t.Helper()
	c, err := stage(t.Context(), h, d, run, &recorder{})
	must(t, err)
	must(t, h.ConfigTest(during(t.Context(), d.Lineage, run+" test"), &recorder{}))
	must(t, h.Restart(during(t.Context(), d.Lineage, run+" restart"), &recorder{}))
	return c
}

func rolledBack(t *testing.T, h *haproxy, lineage, run string) {
	t.Helper()
	must(t, h.Rollback(during(t.Context(), lineage, run+" rollback"), 1, &recorder{}))
	must(t, h.ConfigTest(during(t.Context(), lineage, run+" test-back"), &recorder{}))
	must(t, h.Restart(during(t.Context(), lineage, run+" restart-back"), &recorder{}))
}

// A first certificate, a renewal, both taken back: in a directory and in a
// crt-list, by a worker's socket and by a master's. A client that connects anew
// for each request sees no failure, and the configuration is not touched.
func TestDeployRenewRollBack(t *testing.T) {
	for name, s := range map[string]setup{
		"directory": {}, "crt-list": {crtList: true}, "master": {master: true}, "master, crt-list": {crtList: true, master: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, s)
			h := plugin(t, p.settings(s), t.TempDir())
			first, second := issue(t, "a.test", "a.test", "www.a.test"), issue(t, "a.test", "a.test", "www.a.test")
			before := tree(t, p.dir)
			deployed(t, h, first, "1")
			p.serves(t, "www.a.test", first)
			between := tree(t, p.dir)
			list := read(t, p.crtList())
			w := p.watch(t, "a.test")
			deployed(t, h, second, "2")
			p.serves(t, "a.test", second)
			equal(t, list, read(t, p.crtList()))
			equal(t, before[p.config], tree(t, p.dir)[p.config])
			info, err := os.Stat(p.file("a.test"))
			must(t, err)
			equal(t, os.FileMode(0o600), info.Mode())

			rolledBack(t, h, "a.test", "2")
			equal(t, between, tree(t, p.dir))
			p.serves(t, "a.test", first)
			equal(t, []int{0, 1, 0}, w.end(t, leafOf(first), leafOf(second)))

			rolledBack(t, h, "a.test", "1")
			equal(t, before, tree(t, p.dir))
			p.inOrder(t, p.settings(s))
			if _, known := p.inventory(t)[p.file("a.test")]; known {
				t.Error("haproxy still has it")
			}
		})
	}
}

// inventory gives the certificates that haproxy has, with their status.
func (p *proxy) inventory(t *testing.T) map[string]string {
	t.Helper()
	all, ok := parseInventory(p.say(t, "show ssl cert"))
	if !ok {
		t.Fatal("no inventory")
	}
	out := map[string]string{}
	for _, file := range all.files {
		d, ok := parseDetail(p.say(t, "show ssl cert "+file))
		if !ok {
			t.Fatalf("no detail of %s", file)
		}
		out[file] = d.status
	}
	if all.open != "" {
		out["*"+all.open] = "open"
	}
	return out
}

// inOrder checks that memory and files agree: no transaction is open, every
// file that the configuration reads is in use with its own leaf, and haproxy has
// no other.
func (p *proxy) inOrder(t *testing.T, s settings) {
	t.Helper()
	var files []string
	if s.CrtList != "" {
		for _, e := range parseCrtList([]byte(read(t, s.CrtList))).entries() {
			files = append(files, e.file)
		}
	} else {
		found, err := filepath.Glob(filepath.Join(s.CrtDir, "*"))
		must(t, err)
		files = found
	}
	want := map[string]string{}
	for _, f := range files {
		want[f] = "Used"
		d, ok := parseDetail(p.say(t, "show ssl cert "+f))
		if serial := serialOf([]byte(read(t, f))); !ok || d.serial == nil || d.serial.Cmp(serial) != 0 {
			t.Errorf("%s: haproxy has the serial number %v, the file %v", f, d.serial, serial)
		}
	}
	equal(t, want, p.inventory(t))
}
