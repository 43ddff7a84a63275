package journal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/internal/model"
)

func open(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestNothingDone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	must(t, j.Close())
	must(t, j.Close())
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run that did nothing left %v", files(t, dir))
	}
	if _, err := j.Order(Order{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if entries, err := Pending(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestAllDone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	perform, err := j.Performing(testPerform())
	must(t, err)
	order, err := j.Order(Order{Lineage: "a", OrderID: "o"})
	must(t, err)
	deploy, err := j.Deploying(Deploy{Lineage: "a", To: 1})
	must(t, err)
	if info, err := os.Stat(filepath.Join(dir, files(t, dir)[0])); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if entries, err := Pending(dir); err != nil || len(entries) > 0 {
		t.Errorf("a run that lives is pending: %v, %v", entries, err)
	}
	must(t, j.Cleaned(perform, []string{"c1"}))
	must(t, j.Cleaned(perform, []string{"c3", "c2"}))
	must(t, j.OrderDone(order))
	must(t, j.DeployDone(deploy, "proven"))
	for name, err := range map[string]error{
		"cleaned twice": j.Cleaned(perform, []string{"c1"}), "done twice": j.OrderDone(order),
		"unknown": j.DeployDone("77", ""), "other kind": j.Receipts(order, nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	must(t, j.Close())
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestPending(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	done, err := j.Order(Order{Lineage: "done"})
	must(t, err)
	id, err := j.Performing(testPerform())
	must(t, err)
	must(t, j.OrderDone(done))
	must(t, j.Receipts(id, []Receipt{{"c3", []byte("r3")}, {"c2", []byte{0, 255}}, {"c9", []byte("nobody's")}}))
	must(t, j.Cleaned(id, []string{"c1"}))
	deploy := Deploy{Lineage: "example.com", Instance: model.Instance{Name: "nginx", Plugin: "nginx"}, From: 1, To: 2, RunID: "r1"}
	_, err = j.Deploying(deploy)
	must(t, err)
	must(t, j.Saved("6", "c7"))
	must(t, j.Restarting("6"))
	must(t, j.RolledBack("6"))
	deploy.Checkpoint, deploy.Restarting, deploy.RolledBack = "c7", true, true
	order := Order{Lineage: "b", Server: "https://ca.test/dir", Account: "main", OrderURL: "https://ca.test/order/1", OrderID: "o1"}
	_, err = j.Order(order)
	must(t, err)
	must(t, j.Close())

	got, err := Pending(dir)
	must(t, err)
	p := testPerform()
	p.Challenges = p.Challenges[1:]
	p.Challenges[0].Receipt, p.Challenges[1].Receipt = []byte{0, 255}, []byte("r3")
	p.Challenges[1].ALPN.KeyPEM = nil
	file := files(t, dir)[0]
	want := []Entry{
		{File: file, Seq: 2, ID: "2", Perform: &p},
		{File: file, Seq: 6, ID: "6", Deploy: &deploy},
		{File: file, Seq: 10, ID: "10", Order: &order},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Entry{})); diff != "" {
		t.Error(diff)
	}
	for i, text := range []string{
		"challenges of certificate example.com by instance dns-a (dns-01 for *.example.com, tls-alpn-01 for 2001:db8::1)",
		"deployment of certificate example.com to instance nginx (version 1 to 2)",
		"order https://ca.test/order/1 for certificate b at https://ca.test/dir",
	} {
		if got[i].String() != text {
			t.Errorf("%s", got[i])
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	must(t, err)
	key := []byte("TOP SECRET KEY")
	if bytes.Contains(data, key) || bytes.Contains(data, []byte(base64.StdEncoding.EncodeToString(key))) {
		t.Error("the key of the ALPN challenge is in the journal")
	}
	if !bytes.HasPrefix(data, []byte("{\"v\":1}\n")) {
		t.Errorf("begins with %.20q", data)
	}
}

func TestPerformingRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	p := testPerform()
	p.Challenges[1].ID = "c1"
	for _, p := range []Perform{p, {Lineage: "x"}} {
		if _, err := j.Performing(p); err == nil {
			t.Errorf("taken: %+v", p)
		}
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// The orders of a run write together, and runs start together.
func TestTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	var g errgroup.Group
	for n := range 4 {
		g.Go(func() error {
			j, err := Open(dir)
			if err != nil {
				return err
			}
			var orders errgroup.Group
			for i := range 20 {
				orders.Go(func() error {
					id, err := j.Order(Order{Lineage: fmt.Sprintf("%d-%d", n, i)})
					if err == nil && i%2 == 0 {
						err = j.OrderDone(id)
					}
					return err
				})
			}
			return errors.Join(orders.Wait(), j.Close())
		})
	}
	must(t, g.Wait())
	entries, err := Pending(dir)
	must(t, err)
	if names := files(t, dir); len(entries) != 40 || len(names) != 4 {
		t.Errorf("%d entries in %v", len(entries), names)
	}
	seen := map[string]bool{}
	for _, e := range entries {
		seen[e.Order.Lineage] = true
	}
	if len(seen) != 40 {
		t.Errorf("%d different ones", len(seen))
	}
}

// A record that does not fit on the disk leaves the journal as it was.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	out, err := childCommand(t.Context(), t, "full", dir).Output()
	if err != nil || !strings.Contains(string(out), "file too large hint: free some space") {
		t.Errorf("%v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, files(t, dir)[0]))
	must(t, err)
	if bytes.Count(data, []byte("\n")) != 3 || !bytes.HasSuffix(data, []byte("\n")) {
		t.Errorf("half a line is left: %.300q", data)
	}
	entries, err := Pending(dir)
	must(t, err)
	if len(entries) != 2 || entries[0].Order.Lineage != "first" || entries[1].Order.Lineage != "third" || entries[1].Seq != 2 {
		t.Errorf("%+v", entries)
	}
}

// Several deployments are done together, and what is left is told.
func TestDoneTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	var ids []string
	for _, name := range []string{"a", "b", "c"} {
		id, err := j.Deploying(Deploy{Lineage: name, To: 1})
		must(t, err)
		ids = append(ids, id)
	}
	if err := j.DeploysDone([]string{ids[0], "99"}); err == nil {
		t.Error("one that is not pending is done")
	}
	must(t, j.DeploysDone(ids[:2]))
	must(t, j.DeploysDone(nil))
	must(t, j.Close())
	entries, err := Pending(dir)
	if err != nil || len(entries) != 1 || entries[0].Deploy.Lineage != "c" {
		t.Errorf("%v, %v", entries, err)
	}
}

// A roll back on the user's word is known as one, whatever was written after.
func TestUndo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	_, err := j.Deploying(Deploy{Lineage: "a", Instance: model.Instance{Name: "web"}, From: 1, To: 2, Undo: "c7"})
	must(t, err)
	must(t, j.Close())
	entries, err := Pending(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	if d := entries[0].Deploy; d.Checkpoint != "c7" || !d.Restarting || d.RolledBack {
		t.Errorf("%+v", d)
	}
	if want := "roll back of certificate a at instance web (version 2 to 1)"; entries[0].String() != want {
		t.Errorf("%s, want %s", entries[0], want)
	}
}
