package run

import (
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/testca"
)

func testEngine(t *testing.T, cfg *config.Config) *Engine {
	t.Helper()
	return &Engine{
		Config: cfg, Store: testStore(t, t.TempDir()), Secrets: &report.Secrets{}, Now: time.Now,
		Terminal: &report.Terminal{Out: io.Discard, Err: io.Discard},
	}
}

func testFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Several certificates want the same new account at once: it is registered
// once, and bound as the configuration says.
func TestAccountIsRegisteredOnce(t *testing.T) {
	secret := []byte("an HMAC key of the CA, 32 bytes.")
	encoded := base64.RawURLEncoding.EncodeToString(secret)
	ca, err := testca.Start(t.Context(), testca.Options{NonceReject: 15, EABRequired: true, EABKeys: map[string]string{"kid-1": encoded}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	e := testEngine(t, &config.Config{
		CABundle: testFile(t, string(ca.TLSRoots())), AgreeTOS: true, Email: "all@example.com",
		Accounts: []config.Account{{Name: "main", Email: "own@example.com", EAB: &config.EAB{
			Kid: "kid-1", HMACKey: model.SecretRef{File: testFile(t, encoded+"=\n")},
		}}},
	})
	team := &team{engine: e, byLineage: map[string]map[string]*member{}, cas: newCAs(e)}
	defer team.stop(t.Context())
	r := model.Request{Name: "cert", Server: ca.DirectoryURL(), Account: "main"}
	ctx := limited(t)
	var all, entered sync.WaitGroup
	entered.Add(4)
	for range 4 {
		all.Go(func() {
			client, release, err := e.account(ctx, r, team)
			if err != nil {
				t.Error(err)
				return
			}
			// Everyone has it before anyone lets go: nobody waits for another's
			// order to end.
			entered.Done()
			entered.Wait()
			defer release()
			if _, err := client.NewOrder(ctx, model.NewOrder{Identifiers: []model.Identifier{{Type: "dns", Value: "a.test"}}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	a, _, err := e.Store.Account("main")
	if err != nil || a.EABKid != "kid-1" || strings.Join(a.Contact, " ") != "mailto:own@example.com" {
		t.Errorf("%+v, %v", a, err)
	}
	if accounts, err := e.Store.Accounts(); err != nil || len(accounts) != 1 {
		t.Errorf("%+v, %v", accounts, err)
	}
	if got := e.Secrets.Redact("the key is " + encoded + "="); strings.Contains(got, encoded) {
		t.Errorf("the HMAC key is shown: %s", got)
	}
}

func TestEABKey(t *testing.T) {
	for text, want := range map[string]string{
		"YWJj": "abc", "YWJj\n": "abc", "YWI=": "ab", "YWI": "ab", "_-8": "\xff\xef", "  YWJj  ": "abc", "not base64!": "", "+/8": "",
	} {
		e := testEngine(t, &config.Config{})
		path := testFile(t, text)
		got, err := e.eabKey(t.Context(), &config.EAB{HMACKey: model.SecretRef{File: path}})
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCARoots(t *testing.T) {
	if pool, err := caRoots(""); pool != nil || err != nil {
		t.Errorf("%v, %v", pool, err)
	}
	for name, path := range map[string]string{"holds no PEM certificate": testFile(t, "nothing"), "no such file": filepath.Join(t.TempDir(), "none")} {
		if _, err := caRoots(path); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), path) || report.ExitCode(err) != report.Usage {
			t.Errorf("%v, want %s", err, name)
		}
	}
}
