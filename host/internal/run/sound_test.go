package run

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// What has to hold of a state directory after a run.

// lineage reads what is kept of a certificate.
func (s *state) lineage(name string) (l model.Lineage) {
	s.t.Helper()
	text := s.read("state/lineages/" + name + ".json")
	if text == "" {
		return l
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		s.fail("lineage %s: %v", name, err)
	}
	return l
}

// live holds that a certificate is there as a matching, trusted pair, and gives
// its leaf.
func (s *state) live(lineage string, names ...string) *x509.Certificate {
	s.t.Helper()
	dir := filepath.Join(s.dir, "state", "live", lineage)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem"))
	if err != nil {
		s.fail("live %s: %v", lineage, err)
	}
	info, err := os.Stat(filepath.Join(dir, "privkey.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		s.fail("the key of %s: %v, %v", lineage, info.Mode(), err)
	}
	roots, chain := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(s.ca.IssuerRoots())
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			s.fail("chain of %s: %v", lineage, err)
		}
		chain.AddCert(c)
	}
	for _, name := range names {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: chain}); err != nil {
			s.fail("the certificate of %s: %v", lineage, err)
		}
	}
	l := s.lineage(lineage)
	if l.Version == nil || l.Version.Serial != fmt.Sprintf("%x", pair.Leaf.SerialNumber) {
		s.fail("lineage %s does not know what is live: %+v", lineage, l.Version)
	}
	return pair.Leaf
}

// handshake asks the target what it serves; nil: nothing.
func (s *state) handshake() *x509.Certificate { s.t.Helper(); return s.shown(s.target) }

func (s *state) shown(target net.Listener) *x509.Certificate {
	s.t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"}} //nolint:gosec // it is only looked at
	conn, err := dialer.DialContext(s.t.Context(), "tcp", target.Addr().String())
	if err != nil {
		return nil
	}
	defer conn.Close()
	tlsConn, ok := conn.(*tls.Conn)
	if !ok {
		s.fail("not TLS")
	}
	return tlsConn.ConnectionState().PeerCertificates[0]
}

// whole holds that the target serves one version, with its files and its pointer
// in step, and gives its number; 0: none.
func (s *state) whole() (version int) {
	s.t.Helper()
	leaf := s.handshake()
	pointer, err := os.Readlink(filepath.Join(s.dir, "state", "deployed", "files", "site"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.fail("the pointer: %v", err)
	}
	site := s.read("site/site.pem")
	if leaf == nil {
		if pointer != "" || site != "" {
			s.fail("nothing is served, but the pointer leads to %q and site.pem has %d bytes", pointer, len(site))
		}
		return 0
	}
	block, _ := pem.Decode([]byte(site))
	if block == nil || !bytes.Equal(block.Bytes, leaf.Raw) {
		s.fail("site.pem is not what is served")
	}
	cert, _ := pem.Decode([]byte(s.read("state/deployed/files/site/cert.pem")))
	if cert == nil || !bytes.Equal(cert.Bytes, leaf.Raw) {
		s.fail("the pointer (%s) does not lead to what is served", pointer)
	}
	version, err = strconv.Atoi(filepath.Base(pointer))
	if err != nil {
		s.fail("the pointer leads to %s", pointer)
	}
	return version
}

var leftover = regexp.MustCompile(`\.tmp-|/\.order-|\.commit\.json$|\.deleted$|/\.new-|key\.new\.pem$`)

// clean holds that nothing is left of what was in flight.
func (s *state) clean() {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, "state"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && (leftover.MatchString(path) || strings.Contains(path, "/state/journal/")) {
			s.fail("left over: %s", path)
		}
		return err
	})
	if err != nil {
		s.fail("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "web", ".well-known")); !errors.Is(err, fs.ErrNotExist) {
		s.fail("a challenge is left in place")
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort(aside, strconv.Itoa(s.tlsPort))); err == nil {
		_ = conn.Close()
		s.fail("something listens on the challenge port")
	}
	s.quiet()
}

// quiet waits until no plugin of this state lives.
func (s *state) quiet() {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		left := s.processes()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.fail("processes are left: %v", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *state) processes() (left []string) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, dir := range dirs {
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if cwd == s.dir && strings.HasPrefix(filepath.Base(exe), "certwright-plugin-") {
			left = append(left, exe)
		}
	}
	return left
}

// orders counts those that the CA has made for this state.
func (s *state) orders() int { return strings.Count(s.story.String(), "/order-plz: 201") }

// accountKey is the key of the one account, if there is one yet.
func (s *state) accountKey() string {
	s.t.Helper()
	matches, err := filepath.Glob(filepath.Join(s.dir, "state", "accounts", "*", "key.pem"))
	if err != nil || len(matches) > 1 {
		s.fail("accounts: %v, %v", matches, err)
	}
	if len(matches) == 0 {
		return ""
	}
	data, err := os.ReadFile(matches[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// finished holds that everything is as after an undisturbed run.
func (s *state) finished(version int) {
	s.t.Helper()
	s.clean()
	leaf := s.live("site", "a.test", "b.test")
	if now := s.handshake(); now == nil || !now.Equal(leaf) {
		s.fail("the target does not serve what is live")
	}
	if got := s.whole(); got != version {
		s.fail("the target serves version %d, not %d", got, version)
	}
	l := s.lineage("site")
	target := l.Targets["files"]
	if l.Version.Number != version || target.Deployed != version || target.Proven != version || target.Error != "" {
		s.fail("lineage: version %+v, target %+v", l.Version, target)
	}
}
