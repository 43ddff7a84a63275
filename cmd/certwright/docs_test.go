package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// TestDocs runs every ```sh block of the pages for users, in order, in one shell
// per page. The names lead to this machine and the CA is a test CA; what the
// commands say of ports and of the server's directories is mapped by a shim in
// front of the real program, see testdata/docs.
func TestDocs(t *testing.T) {
	for _, page := range []string{"README.md", "docs/first-certificate.md", "docs/operate.md", "docs/scripting.md", "docs/renewal.md", "docs/mixing.md", "docs/accounts.md", "docs/hooks.md", "docs/scripts.md", "docs/security.md", "docs/write-a-plugin.md", "docs/write-a-plugin-in-python.md", "docs/conformance.md"} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			runPage(t, page)
		})
	}
}

var block = regexp.MustCompile("(?s)```(sh|yaml)\n(.*?)```")

func runPage(t *testing.T, page string) {
	text, err := os.ReadFile(filepath.Join("../..", page))
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	env, http, alpn := docsWorld(t, work)
	mapped := strings.NewReplacer(
		"/var/www/html", filepath.Join(work, "web"), "/etc/ssl", filepath.Join(work, "ssl"), "systemctl reload nginx", "exit 0",
		"plugin: standalone}", fmt.Sprintf("plugin: standalone, settings: {http_port: %d, tls_port: %d, address: 127.0.0.1}}", http, alpn),
		"/etc/certwright/", work+"/", partnerCA, env[slices.IndexFunc(env, isPartner)][len("DOCS_PARTNER="):],
	)
	// A block of YAML is the configuration from its place in the page on.
	script := "set -eu\nset -x\n"
	commands := 0
	for _, found := range block.FindAllStringSubmatch(string(text), -1) {
		if found[1] == "sh" {
			script += found[2]
			commands++
			continue
		}
		script += "cat >etc/certwright.yaml <<'END-OF-YAML'\n" + mapped.Replace(found[2]) + "END-OF-YAML\n"
	}
	if commands == 0 {
		t.Fatalf("%s has no command to run", page)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = work, env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		// What begins so is a command as the shell runs it.
		if leak := plugintest.Leak([]byte(line)); leak != "" && !strings.HasPrefix(line, "+") {
			t.Errorf("a command of the page has printed %s: %s", leak, line)
		}
	}
	t.Logf("%s", out)
}

// partnerCA stands in the pages for a CA that wants an external binding.
const partnerCA = "https://acme.example/directory"

func isPartner(entry string) bool { return strings.HasPrefix(entry, "DOCS_PARTNER=") }

// docsWorld starts two CAs and a web server, and gives the environment that leads
// to them.
func docsWorld(t *testing.T, work string) (env []string, httpPort, tlsPort int) {
	t.Helper()
	for _, dir := range []string{"web", "ssl", "etc", "home"} {
		if err := os.Mkdir(filepath.Join(work, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The web server of the pages has an address of its own, so that standalone
	// can have the same port.
	httpPort, tlsPort = plugintest.Port(t), plugintest.Port(t)
	port := strconv.Itoa(httpPort)
	site, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(filepath.Join(work, "web"))), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(site) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: httpPort, TLSPort: tlsPort, NonceReject: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	partner, err := testca.Start(t.Context(), testca.Options{
		HTTPPort: httpPort, TLSPort: tlsPort, EABRequired: true, EABKeys: map[string]string{"kid-1": hmacKey},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = partner.Close() })
	for _, name := range []string{"shop.example.com", "www.shop.example.com"} {
		ca.DNS().SetA(name, netip.MustParseAddr("127.0.0.2"))
		partner.DNS().SetA(name, netip.MustParseAddr("127.0.0.2"))
	}
	if err := os.WriteFile(filepath.Join(work, "ca.pem"), append(ca.TLSRoots(), partner.TLSRoots()...), 0o600); err != nil {
		t.Fatal(err)
	}
	// What scripts on the pages take for the API of a DNS provider.
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		change := ca.DNS().AddTXT
		if r.URL.Path == "/delete" {
			change = func(name, value string) { ca.DNS().DeleteTXT(name, value) }
		}
		change(r.FormValue("name"), r.FormValue("value"))
	}))
	t.Cleanup(api.Close)
	shims, err := filepath.Abs("testdata/docs")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"examples", "sdk"} { // the pages are read in the source tree
		if err := os.Symlink(filepath.Join(root, part), filepath.Join(work, part)); err != nil {
			t.Fatal(err)
		}
	}
	// What the pages build is built with the caches of this machine, whose paths
	// hang on HOME.
	toolchain, err := exec.CommandContext(t.Context(), "go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB").Output()
	if err != nil {
		t.Fatal(err)
	}
	var goEnv map[string]string
	if err := json.Unmarshal(toolchain, &goEnv); err != nil {
		t.Fatal(err)
	}
	path := []string{shims, filepath.Join(prefix, "bin"), os.Getenv("PATH")}
	for name, value := range goEnv {
		env = append(env, name+"="+value)
	}
	return append(env,
		"PATH="+strings.Join(path, string(os.PathListSeparator)),
		"HOME="+filepath.Join(work, "home"), "WORK="+work, "ROOT="+root, "CLONE="+root, "PREFIX_UNDER_TEST="+prefix,
		"DOCS_PORT="+port, "DNS_API="+api.URL, "CERTWRIGHT_SERVER="+ca.DirectoryURL(),
		"DOCS_PARTNER="+partner.DirectoryURL(), "HMAC_KEY="+hmacKey,
		"CERTWRIGHT_CA_BUNDLE="+filepath.Join(work, "ca.pem"),
		"CERTWRIGHT_STATE_DIR="+filepath.Join(work, "state"), "CERTWRIGHT_CONFIG_DIR="+filepath.Join(work, "etc"),
	), httpPort, tlsPort
}

// The first thing that the pages show of a plugin is what `plugins new` writes.
func TestPagesShowTheNewPlugin(t *testing.T) {
	for page, c := range map[string]struct{ language, file string }{
		"write-a-plugin.md":           {"go", "authenticator.go"},
		"write-a-plugin-in-python.md": {"python", "certwright-plugin-hello"},
	} {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "new")
		args := []string{"plugins", "new", "hello", "--role", "authenticator", "--lang", c.language, "--dir", dir}
		if c.language == "go" {
			args = append(args, "--sdk", "../..")
		}
		if out, err := exec.CommandContext(t.Context(), filepath.Join(prefix, "bin/certwright"), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		written, err := os.ReadFile(filepath.Join(dir, c.file))
		if err != nil {
			t.Fatal(err)
		}
		shown := regexp.MustCompile("(?s)```"+c.language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		if len(shown) == 0 {
			t.Errorf("%s shows nothing of it", page)
		}
		if len(shown) > 0 && !strings.Contains(string(written), shown[0][1]) {
			t.Errorf("%s shows what is not in %s:\n%s", page, c.file, shown[0][1])
		}
	}
}
