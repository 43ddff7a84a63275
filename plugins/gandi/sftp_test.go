package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/certwright/certwright/sdk"
)

// sshd is OpenSSH's server, one process for each connection as inetd starts it,
// so that the port is the kernel's.
type sshd struct {
	address string
	dir     string // where a session begins
	user    string
	// key logs in; host and hostRSA are the server's public keys.
	key           sdk.Secret
	host, hostRSA ssh.PublicKey
	log           *output
	conf          string
}

// output is what the server writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func startSSH(t *testing.T, dir string, more ...string) *sshd {
	t.Helper()
	etc := t.TempDir()
	me, err := user.Current()
	must(t, err)
	if os.Geteuid() == 0 { // it wants an empty directory for its helpers
		must(t, os.MkdirAll("/run/sshd", 0o755))
	}
	s := &sshd{dir: dir, user: me.Username, log: &output{}}
	public, private := keyPair(t)
	s.key = sdk.Secret(private)
	must(t, os.WriteFile(filepath.Join(etc, "authorized"), ssh.MarshalAuthorizedKey(public), 0o600))
	hostPublic, hostPrivate := keyPair(t)
	s.host = hostPublic
	must(t, os.WriteFile(filepath.Join(etc, "host"), hostPrivate, 0o600))
	hostKeys := "HostKey " + etc + "/host\n"
	for _, kind := range more {
		file := filepath.Join(etc, "host_"+kind)
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		text, err := os.ReadFile(file + ".pub")
		must(t, err)
		s.hostRSA, _, _, _, err = ssh.ParseAuthorizedKey(text)
		must(t, err)
		hostKeys += "HostKey " + file + "\n"
	}
	s.conf = filepath.Join(etc, "sshd_config")
	must(t, os.WriteFile(s.conf, fmt.Appendf(nil, `%[3]sAuthorizedKeysFile %[1]s/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp -d %[2]s
`, etc, dir, hostKeys), 0o600))

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	s.address = listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.session(t, conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return s
}

func (s *sshd) session(t *testing.T, conn *net.TCPConn) {
	socket, err := conn.File()
	_ = conn.Close() // the file is another descriptor of it
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = socket.Close() }()
	cmd := exec.Command("/usr/sbin/sshd", "-i", "-e", "-f", s.conf)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, s.log
	_ = cmd.Run() // its status is that of the client's farewell
}

func keyPair(t *testing.T) (ssh.PublicKey, []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	return key, pem.EncodeToMemory(block)
}

func (s *sshd) settings() settings {
	return settings{
		SFTPServer: s.address, SFTPUser: s.user, SFTPKey: s.key, InstanceType: "phpmysql", HostKey: ssh.FingerprintSHA256(s.host),
	}
}

func challenge(name, token string) sdk.Challenge {
	return sdk.Challenge{
		ID: name + "/" + token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name}, Token: token,
		HTTP: &sdk.HTTPChallenge{Path: "/.well-known/acme-challenge/" + token, Body: []byte(token + ".thumbprint")},
	}
}

// perform gives the first error, of the call or of a challenge.
func perform(t *testing.T, g *gandi, challenges ...sdk.Challenge) error {
	t.Helper()
	r := &recorder{}
	return outcome(g.Perform(t.Context(), challenges, r), r, challenges)
}

func cleanup(t *testing.T, g *gandi, challenges ...sdk.Challenge) error {
	t.Helper()
	r := &recorder{}
	return outcome(g.Cleanup(t.Context(), challenges, r), r, challenges)
}

func outcome(err error, r *recorder, challenges []sdk.Challenge) error {
	for _, result := range r.results {
		err = errors.Join(err, result.Err)
	}
	if err == nil && len(r.results) != len(challenges) {
		return fmt.Errorf("%d results for %d challenges", len(r.results), len(challenges))
	}
	return err
}

func mkdirs(t *testing.T, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	must(t, os.MkdirAll(dir, 0o755))
	return dir
}

// tree is all that is in a directory, with modes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s %s", strings.TrimPrefix(path, dir), info.Mode())
		if e.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %q", text)
		}
		out.WriteString("\n")
		return nil
	}))
	return out.String()
}

// served asks a web server on that tree, as a CA does.
func served(t *testing.T, root string, c sdk.Challenge) string {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer server.Close()
	resp, err := server.Client().Get(server.URL + c.HTTP.Path)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	must(t, err)
	return body.String()
}

func TestFilesByInstanceType(t *testing.T) {
	for kind, root := range map[string]string{
		"phpmysql": "vhosts/a.test/htdocs", "pythonpgsql": "vhosts/default", "nodejsmongodb": "vhosts/default", "rubymysql": "vhosts/default/public",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := startSSH(t, t.TempDir())
			docs := mkdirs(t, s.dir, root)
			before := tree(t, s.dir)
			settings := s.settings()
			settings.InstanceType = kind
			state := t.TempDir()
			c := challenge("a.test", "token-1")
			if err := perform(t, configured(t, settings, state), c); err != nil {
				t.Fatalf("%v\n%s", err, s.log)
			}
			if got := served(t, docs, c); got != "token-1.thumbprint" {
				t.Errorf("served is %q", got)
			}
			info, err := os.Stat(filepath.Join(docs, c.HTTP.Path))
			must(t, err)
			if info.Mode().Perm() != 0o444 {
				t.Errorf("the mode is %s", info.Mode())
			}
			// A new process, and no state directory of before.
			for range 2 {
				must(t, cleanup(t, configured(t, settings, t.TempDir()), c))
			}
			if after := tree(t, s.dir); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

func TestHtaccessOfTheUser(t *testing.T) {
	for name, text := range map[string]string{
		"rules": "RewriteEngine on\nRewriteRule ^ /index.php\n", "without a last newline": "Options -Indexes", "empty": "",
		"carriage returns": "Options -Indexes\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSSH(t, t.TempDir())
			docs := mkdirs(t, s.dir, "vhosts/a.test/htdocs")
			file := filepath.Join(mkdirs(t, docs, ".well-known"), ".htaccess")
			must(t, os.WriteFile(file, []byte(text), 0o640))
			before := tree(t, s.dir)
			g := configured(t, s.settings(), t.TempDir())
			one, two := challenge("a.test", "one"), challenge("a.test", "two")
			must(t, perform(t, g, one, two))
			must(t, perform(t, g, one)) // again
			patched, err := os.ReadFile(file)
			must(t, err)
			if !strings.HasPrefix(string(patched), text) || strings.Count(string(patched), "\nRewriteEngine off\n") != 2 {
				t.Errorf("the file is\n%s", patched)
			}
			must(t, cleanup(t, g, one))
			if got := served(t, docs, two); got != "two.thumbprint" {
				t.Errorf("served is %q", got)
			}
			must(t, cleanup(t, g, two))
			if after := tree(t, s.dir); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

func TestWhatOthersHaveThereStays(t *testing.T) {
	s := startSSH(t, t.TempDir())
	docs := mkdirs(t, s.dir, "vhosts/a.test/htdocs")
	must(t, os.WriteFile(filepath.Join(mkdirs(t, docs, levels[1]), "of-another"), []byte("x"), 0o644))
	before := tree(t, s.dir)
	g := configured(t, s.settings(), t.TempDir())
	a, b := challenge("a.test", "one"), challenge("b.test", "two")
	err := perform(t, g, b, a)
	wantProblem(t, err, sdk.NotFound, "vhosts/b.test/htdocs", "does not exist", "virtual host")
	if got := served(t, docs, a); got != "one.thumbprint" {
		t.Errorf("one name's failure is the other's: %q", got)
	}
	must(t, cleanup(t, g, b, a))
	if after := tree(t, s.dir); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	wrong := challenge("a.test", "../../x")
	wantProblem(t, perform(t, g, wrong), sdk.Unsupported, "base64url")
}

func TestLogins(t *testing.T) {
	s := startSSH(t, t.TempDir(), "ecdsa", "rsa")
	mkdirs(t, s.dir, "vhosts/a.test/htdocs")
	c := challenge("a.test", "token")
	known := filepath.Join(t.TempDir(), "known_hosts")
	write := func(keys ...ssh.PublicKey) {
		var text []string
		for _, k := range keys {
			text = append(text, knownhosts.Line([]string{s.address}, k))
		}
		must(t, os.WriteFile(known, []byte(strings.Join(text, "\n")+"\n"), 0o600))
	}
	other, otherPrivate := keyPair(t)
	inFile := func(settings *settings) { settings.HostKey, settings.KnownHosts = "", known }
	for name, step := range map[string]struct {
		change func(*settings)
		code   sdk.Code // empty: it works
		say    []string
	}{
		"fingerprint":            {func(*settings) {}, "", nil},
		"its fingerprint of RSA": {func(s2 *settings) { s2.HostKey = ssh.FingerprintSHA256(s.hostRSA) }, "", nil},
		"key":                    {func(s2 *settings) { s2.HostKey = string(ssh.MarshalAuthorizedKey(s.hostRSA)) }, "", nil},
		"known, RSA only":        {func(s2 *settings) { write(s.hostRSA); inFile(s2) }, "", nil},
		"known, both":            {func(s2 *settings) { write(s.host, s.hostRSA); inFile(s2) }, "", nil},
		"another fingerprint":    {func(s2 *settings) { s2.HostKey = ssh.FingerprintSHA256(other) }, sdk.Credentials, []string{"host key", "it shows SHA256:", "compare the fingerprint"}},
		"another key":            {func(s2 *settings) { s2.HostKey = string(ssh.MarshalAuthorizedKey(other)) }, sdk.Credentials, []string{"it shows " + ssh.FingerprintSHA256(s.host)}},
		"known as another":       {func(s2 *settings) { write(other); inFile(s2) }, sdk.Credentials, []string{known + " has another one"}},
		"not known":              {func(s2 *settings) { write(); inFile(s2) }, sdk.Credentials, []string{"has none for it"}},
		"no such file":           {func(s2 *settings) { inFile(s2); s2.KnownHosts += ".none" }, sdk.InvalidConfig, []string{"known hosts"}},
		"another login key":      {func(s2 *settings) { s2.SFTPKey = sdk.Secret(otherPrivate) }, sdk.Credentials, []string{"unable to authenticate", "for the user " + s.user}},
		"no login key":           {func(s2 *settings) { s2.SFTPKey = "nonsense" }, sdk.InvalidConfig, []string{"private key"}},
		"password refused":       {func(s2 *settings) { s2.SFTPKey, s2.SFTPPassword = "", "secret-word\n" }, sdk.Credentials, []string{"unable to authenticate"}},
		"nobody there":           {func(s2 *settings) { s2.SFTPServer = "127.0.0.1:1" }, sdk.Unavailable, []string{"sftp://" + s.user + "@127.0.0.1:1", "reachable"}},
	} {
		settings := s.settings()
		step.change(&settings)
		g := configured(t, settings, t.TempDir())
		err := perform(t, g, c)
		if step.code == "" {
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, s.log)
			}
			must(t, cleanup(t, g, c))
			continue
		}
		t.Run(name, func(t *testing.T) { wantProblem(t, err, step.code, step.say...) })
		if strings.Contains(fmt.Sprint(err), "secret-word") {
			t.Errorf("the password is shown: %v", err)
		}
	}
}

func FuzzHtaccess(f *testing.F) {
	f.Add([]byte("RewriteEngine on\n"), true, "one", "two")
	f.Add([]byte(madeLine), true, "one", "two")
	f.Add([]byte{}, false, "a", "b")
	f.Fuzz(func(t *testing.T, text []byte, exists bool, one, two string) {
		if !tokenPattern.MatchString(one) || !tokenPattern.MatchString(two) || bytes.Contains(text, []byte("# certwright ")) {
			return
		}
		if !exists {
			text = nil
		}
		patched := patch(patch(text, exists, one), true, two)
		tokens := []string{one, two}
		slices.Reverse(tokens)
		for _, token := range tokens {
			still := patched != nil
			patched = unpatch(patched, still, token)
		}
		if !bytes.Equal(patched, text) || (patched != nil) != exists {
			t.Errorf("%q becomes %q", text, patched)
		}
	})
}
