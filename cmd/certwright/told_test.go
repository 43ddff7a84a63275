package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told is one event as the plugin told noted it.
type told struct {
	Event    string   `json:"event"`
	Lineage  string   `json:"lineage"`
	Verb     string   `json:"verb"`
	DryRun   bool     `json:"dry_run"`
	Fatal    bool     `json:"fatal"`
	Order    string   `json:"order"`
	CSR      bool     `json:"csr"`
	PEM      bool     `json:"pem"`
	Poll     string   `json:"poll"`
	Problem  string   `json:"problem"`
	Live     bool     `json:"live"`
	Archive  bool     `json:"archive"`
	There    bool     `json:"there"`
	Switched bool     `json:"switched"`
	Children []int    `json:"children"`
	Renewed  []string `json:"renewed"`
	Failed   []string `json:"failed"`
	Outcome  string   `json:"outcome"`
	Messages []string `json:"messages"`
	Status   int      `json:"status"`
	Method   string   `json:"method"`
	Resource string   `json:"resource"`
	Body     string   `json:"body"`
	Headers  []string `json:"headers"`
	Raw      struct {
		Status string         `json:"status"`
		Error  map[string]any `json:"error"`
	} `json:"raw"`
	InPlace bool `json:"in_place"`
}

// story is one state directory with the hook told.
type story struct {
	*hookWorld
	t   *testing.T
	dir string
}

func (w *hookWorld) story(t *testing.T) *story {
	t.Helper()
	plugin, err := os.ReadFile("testdata/plugins/certwright-plugin-told")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.plugins, "certwright-plugin-told"), string(plugin), 0o755)
	s := &story{hookWorld: w, t: t, dir: t.TempDir()}
	s.configure(w.web, "webroot")
	return s
}

// configure writes the configuration: where challenges are put.
func (s *story) configure(web, hook string) {
	s.t.Helper()
	hooks := "hooks: [told]"
	if hook != "webroot" {
		hooks = ""
	}
	write(s.t, filepath.Join(s.dir, "certwright.yaml"), fmt.Sprintf(`
server: %s
ca_bundle: %s/ca.pem
agree_tos: true
instances:
  - {name: webroot, settings: {path: %s}}
certificates:
  - {name: site, names: [a.test, b.test], authenticate: [{with: [webroot]}], %s}
`, s.ca.DirectoryURL(), s.plugins, web, hooks), 0o600)
}

func (s *story) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(prefix, "bin", "certwright"), append(args, "-n", "--plugin-dir", s.plugins)...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "CERTWRIGHT_CONFIG_DIR="+s.dir, "CERTWRIGHT_STATE_DIR="+filepath.Join(s.dir, "state"),
		"TOLD_LOG="+filepath.Join(s.dir, "log"), "TOLD_WEB="+s.web, "TOLD_GO="+filepath.Join(s.dir, "go"),
		"TOLD_LIVE="+filepath.Join(s.dir, "state", "live", "site"))
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// run gives what was told in one run, which is to end with a code.
func (s *story) run(code int, env []string, args ...string) []told {
	s.t.Helper()
	_ = os.Remove(filepath.Join(s.dir, "log"))
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := s.command(ctx, env, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || ctx.Err() != nil || cmd.ProcessState.ExitCode() != code {
		s.t.Fatalf("%v: %v, want exit code %d\n%s", args, err, code, out)
	}
	return s.log()
}

func (s *story) log() []told {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	var out []told
	for line := range bytes.Lines(data) {
		var one told
		if err := json.Unmarshal(line, &one); err != nil {
			s.t.Fatalf("%v: %s", err, line)
		}
		out = append(out, one)
	}
	return out
}

func events(all []told) string {
	var out []string
	for _, one := range all {
		out = append(out, one.Event)
	}
	return strings.Join(out, " ")
}

func (s *story) expect(want string, got []told) {
	s.t.Helper()
	if diff := cmp.Diff(want, events(got)); diff != "" {
		s.t.Fatalf("(-want +got):\n%s", diff)
	}
}

func (s *story) is(what string, ok bool, got any) {
	s.t.Helper()
	if !ok {
		s.t.Errorf("%s: %+v", what, got)
	}
}

// A hook hears of everything, in order, and each event has what belongs to it.
func TestTold(t *testing.T) {
	s := newHookWorld(t).story(t)
	all := s.run(0, nil, "run")
	s.expect("start pre csr attempt issued success attempted post finish", all)
	attempt, issued, success, attempted, post, finish := all[3], all[4], all[5], all[6], all[7], all[8]
	s.is("start", all[0].Lineage == "" && all[0].Verb == "run" && all[0].Fatal, all[0])
	s.is("what a hook starts heeds signals", slices.Equal(all[0].Children, []int{-15, -2, -1}), all[0])
	s.is("attempt", attempt.Lineage == "site" && attempt.Fatal && attempt.CSR && strings.HasPrefix(attempt.Order, "https://") && !attempt.PEM, attempt)
	s.is("issued", issued.Archive && issued.There && !issued.Switched && issued.PEM && issued.CSR && issued.Order == attempt.Order, issued)
	s.is("success", success.Live && success.There && success.PEM && success.CSR && success.Poll == "" && success.Order == attempt.Order, success)
	s.is("attempted", attempted.Live && attempted.Problem == "" && !attempted.Fatal, attempted)
	s.is("post", slices.Equal(post.Renewed, []string{"site"}) && len(post.Failed) == 0, post)
	s.is("finish", finish.Outcome == "ok" && len(finish.Messages) == 0 && slices.Equal(finish.Renewed, []string{"site"}), finish)

	// The lineage remembers who wants to hear that nothing is due.
	all = s.run(0, nil, "renew")
	s.expect("start unchanged finish", all)
	s.is("unchanged", all[1].Live && all[1].There && all[1].PEM, all[1])

	all = s.run(1, []string{"TOLD_FAILS=start"}, "renew")
	s.expect("start finish", all)

	// Its failure is the certificate's, unless the user allows it.
	all = s.run(1, []string{"TOLD_FAILS=unchanged"}, "renew")
	s.expect("start unchanged finish", all)
	s.is("unchanged", all[1].Fatal, all[1])
	all = s.run(0, []string{"TOLD_FAILS=unchanged"}, "renew", "--allow-success-hook-failure")
	s.is("unchanged that may fail", !all[1].Fatal, all[1])

	all = s.run(0, nil, "renew", "--dry-run")
	s.expect("start pre csr attempt dry_run attempted post finish", all)
	s.is("dry run", all[3].DryRun && all[4].Live && all[4].PEM, all[3:5])

	// What fails at issued is told, and the certificate is switched to.
	all = s.run(3, []string{"TOLD_FAILS=issued"}, "renew", "--force-renewal")
	s.expect("start pre csr attempt issued success attempted post finish", all)
	s.is("finish", all[8].Outcome == "partial" && len(all[8].Messages) == 1 && strings.Contains(all[8].Messages[0], "told to"), all[8])
	s.expect("start finish", s.run(1, []string{"TOLD_FAILS=start"}, "renew", "--force-renewal"))
}

// What the CA refuses is told before it is cleaned up.
func TestToldOfRefusals(t *testing.T) {
	s := newHookWorld(t).story(t)
	s.web = t.TempDir() // nobody serves it
	s.configure(s.web, "webroot")
	all := s.run(1, nil, "run")
	var invalid []told
	for _, one := range all {
		if one.Event == "challenge_invalid" {
			invalid = append(invalid, one)
		}
	}
	if len(invalid) == 0 || len(invalid) > 2 {
		t.Fatalf("%+v", all)
	}
	for _, one := range invalid {
		s.is("challenge_invalid", one.InPlace && one.Raw.Status == "invalid" && one.Raw.Error["type"] != nil && one.Problem != "", one)
	}
	last := all[len(all)-3:]
	s.expect("attempted post finish", last)
	s.is("attempted", last[0].Problem != "" && last[0].Poll == "" && !last[0].PEM, last[0])
	s.is("post", slices.Equal(last[1].Failed, []string{"site"}), last[1])
	s.is("finish", last[2].Outcome == "failed" && last[2].Problem != "" && len(last[2].Messages) > 0, last[2])

	// A request that the CA refuses: it does not issue to itself.
	name := s.run(1, nil, "certonly", "-a", "webroot", "--hook", "told", "-d", "no_such_name.test")
	failure := name[slices.IndexFunc(name, func(one told) bool { return one.Event == "ca_failure" })]
	s.is("ca_failure", failure.Lineage == "no_such_name.test" && failure.Status == 400 && failure.Method == http.MethodPost && failure.Resource == "newOrder" &&
		strings.Contains(failure.Body, "urn:ietf:params:acme:error:") && slices.Contains(failure.Headers, "Content-Type"), failure)
}

// A hook may give the request; its key is not ours, and it is asked again at the
// next renewal.
func TestToldGivesARequest(t *testing.T) {
	s := newHookWorld(t).story(t)
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.test", "b.test", "c.test"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	request := filepath.Join(s.dir, "request.pem")
	write(t, request, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), 0o600)
	env := []string{"TOLD_CSR=" + request}
	s.expect("start pre csr attempt issued success attempted post finish", s.run(0, env, "run"))
	live := filepath.Join(s.dir, "state", "live", "site")
	chain, err := os.ReadFile(filepath.Join(live, "fullchain.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(chain)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !key.PublicKey.Equal(leaf.PublicKey) || len(leaf.DNSNames) != 3 {
		t.Errorf("%v, %v", leaf.DNSNames, err)
	}
	if _, err := os.Stat(filepath.Join(live, "privkey.pem")); !os.IsNotExist(err) {
		t.Errorf("there is a key: %v", err)
	}
	s.expect("start unchanged finish", s.run(0, env, "run"))
	s.expect("start pre csr attempt issued success attempted post finish", s.run(0, env, "renew", "--force-renewal"))
	s.expect("start pre csr post finish", s.run(1, []string{"TOLD_FAILS=csr"}, "renew", "--force-renewal"))
}

// A run that is killed while the hook is told of success: the next run tells it,
// whatever else it has to do.
func TestToldAfterAKill(t *testing.T) {
	s := newHookWorld(t).story(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, at := range []string{"issued", "success"} {
		_ = os.Remove(filepath.Join(s.dir, "log"))
		cmd := s.command(ctx, []string{"TOLD_WAITS=" + at}, "run", "--force-renewal")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for !strings.HasSuffix(events(s.log()), at) {
			if ctx.Err() != nil {
				t.Fatalf("it never came to %s: %s", at, events(s.log()))
			}
			time.Sleep(10 * time.Millisecond)
		}
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		all := s.run(0, nil, "run")
		s.expect("start pre success attempted post finish", all)
		s.is("success", all[2].Live && all[2].There && all[2].CSR && all[2].Order != "", all[2])
		s.expect("start unchanged finish", s.run(0, nil, "run"))
	}
}

// A run that is killed while the CA is asked to issue: the next run finishes the
// order, and the hook is told then, with where the CA was asked again.
func TestToldLate(t *testing.T) {
	s := newHookWorld(t).story(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := s.command(ctx, nil, "run")
	var killed atomic.Bool
	kill := func(path string) {
		if strings.Contains(path, "finalize") && killed.CompareAndSwap(false, true) {
			_ = cmd.Process.Kill()
		}
	}
	started := make(chan struct{})
	wait := func(path string) {
		<-started
		kill(path)
	}
	s.request.Store(&wait)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	_ = cmd.Wait()
	s.request.Store(nil)
	if !killed.Load() {
		t.Fatal("it never came to finalize")
	}
	before := s.log()
	s.expect("start pre csr attempt", before)
	all := s.run(0, nil, "run")
	s.expect("start pre success attempted post finish", all)
	order := before[3].Order
	for _, one := range all[2:4] {
		s.is(one.Event, one.Order == order && one.Poll == order && one.CSR && one.PEM && one.Live && one.Problem == "", one)
	}
	s.expect("start unchanged finish", s.run(0, nil, "run"))
}
