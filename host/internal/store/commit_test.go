package store

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/internal/model"
)

func TestCommit(t *testing.T) {
	s := open(t, t.TempDir())
	l := commit(t, s, testLineage(), "o1", 255)
	want := &model.Version{
		Number: 1, Serial: "ff", Fingerprint: l.Version.Fingerprint, NotBefore: notBefore, NotAfter: notBefore.AddDate(0, 3, 0),
		Issuer: "Test CA", KeyType: model.P256, Names: []string{"*.example.com", "2001:db8::1", "example.com"},
	}
	if diff := cmp.Diff(want, l.Version); diff != "" {
		t.Error(diff)
	}
	if len(l.Version.Fingerprint) != 64 {
		t.Errorf("fingerprint %q", l.Version.Fingerprint)
	}
	if target, err := os.Readlink(s.path("live", testName)); err != nil || target != "../archive/example.com/0001" {
		t.Errorf("%s, %v", target, err)
	}
	sound(t, s)
	l = commit(t, s, l, "o2", 2)
	if live := sound(t, s); live != 2 {
		t.Errorf("live is %d", live)
	}
	first, err := s.Read(testName, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(first.FullchainPEM, first.KeyPEM); err != nil {
		t.Error(err)
	}
	if _, err := s.OrderKey(testName, "o2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the order is still there: %v", err)
	}
	got, err := s.Lineage(testName)
	if diff := cmp.Diff(l, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := s.DropOrder(testName, "o9"); err != nil {
		t.Error(err)
	}
}

func TestCommitRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	key := newKey(t, s, "o1").Public()
	other := newKey(t, s, "o2").Public()
	good := issue(t, key, 1)
	two := good
	two.LeafPEM, two.FullchainPEM = good.FullchainPEM, nil
	swapped := good
	swapped.FullchainPEM = append(append([]byte{}, good.ChainPEM...), good.LeafPEM...)
	garbage := good
	garbage.ChainPEM = []byte("<html>")
	for want, issued := range map[string]model.Issued{
		"another key":         issue(t, other, 1),
		"lacks *.example.com": issue(t, key, 1, "example.com", "2001:db8::1"),
		"lacks 2001:db8::1":   issue(t, key, 1, "example.com", "*.example.com"),
		"0 certificates":      {},
		"2 certificates":      two,
		"not cert followed":   swapped,
		"not PEM":             garbage,
	} {
		if _, err := s.Commit(testLineage(), "o1", issued); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := s.Commit(testLineage(), "never", good); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an order without a key: %v", err)
	}
	if live := sound(t, s); live != 0 {
		t.Errorf("live is %d", live)
	}
	if err := s.DropOrder(testName, "o2"); err != nil {
		t.Fatal(err)
	}
	if r := repair(t, s); len(r.Orders) != 1 || r.Orders[0] != "o1" {
		t.Errorf("%+v", r)
	}
	l, err := s.Commit(testLineage(), "o1", good)
	if err != nil || l.Version.Number != 1 {
		t.Errorf("%+v, %v", l.Version, err)
	}
}

// Readers see whole pairs while versions are switched, here faster than any
// Commit would.
func TestReadWhileSwitching(t *testing.T) {
	s := open(t, t.TempDir())
	commit(t, s, commit(t, s, testLineage(), "o1", 1), "o2", 2)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for n := 0; ctx.Err() == nil; n++ {
			tmp := s.path("live", "next")
			if err := os.Symlink(liveTarget(testName, 1+n%2), tmp); err != nil {
				return err
			}
			if err := os.Rename(tmp, s.path("live", testName)); err != nil {
				return err
			}
		}
		return nil
	})
	seen := map[string]int{}
	for ctx.Err() == nil && (seen["1"] < 300 || seen["2"] < 300) {
		i, err := s.Read(testName, 0)
		if err != nil {
			t.Error(err)
			break
		}
		pair, err := tls.X509KeyPair(i.FullchainPEM, i.KeyPEM)
		if err != nil {
			t.Error(err)
			break
		}
		seen[pair.Leaf.SerialNumber.String()]++
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDelete(t *testing.T) {
	s := open(t, t.TempDir())
	l := commit(t, s, testLineage(), "o1", 1)
	newKey(t, s, "o2")
	if err := s.SetPointer("nginx", testName, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(testName); err != nil {
		t.Fatal(err)
	}
	gone(t, s)
	if err := s.Delete(testName); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	// An unfinished deletion does not take a new lineage of that name away.
	if err := os.WriteFile(s.tombstone(testName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Version = nil
	commit(t, s, l, "o3", 3)
	repair(t, s)
	if live := sound(t, s); live != 1 {
		t.Errorf("live is %d", live)
	}
}

// Repair also mends what no commit of ours leaves, and refuses to guess.
func TestRepair(t *testing.T) {
	for _, c := range []struct {
		name    string
		destroy func(s *Store) error
		want    string // in the error; empty: mended
	}{
		{"live missing", func(s *Store) error { return os.Remove(s.path("live", testName)) }, ""},
		{"live behind", func(s *Store) error { return s.link(liveTarget(testName, 1), s.path("live", testName)) }, ""},
		{"temporary files", func(s *Store) error {
			return errors.Join(
				os.WriteFile(s.path("lineages", ".example.com.json.tmp-7"), nil, 0o600),
				os.Symlink("x", s.path("live", ".example.com.tmp-8")),
				os.WriteFile(s.path("archive", testName, "0002", ".cert.pem.tmp-9"), nil, 0o600))
		}, ""},
		{"lineage lost", func(s *Store) error { return os.Remove(s.lineagePath(testName)) }, "nothing says how it was obtained"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			commit(t, s, commit(t, s, testLineage(), "o1", 1), "o2", 2)
			other := s.path("live", ".example.com.x.tmp-1")
			if err := errors.Join(c.destroy(s), os.Symlink("x", other)); err != nil {
				t.Fatal(err)
			}
			_, err := s.Repair(testName)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q in it", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(other); err != nil {
				t.Errorf("the file of another lineage was swept: %v", err)
			}
			if live := sound(t, s); live != 2 {
				t.Errorf("live is %d", live)
			}
		})
	}
}
