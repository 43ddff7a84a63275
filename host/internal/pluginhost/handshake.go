package pluginhost

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/certwright/certwright/sdk/client"
)

// maxHandshake bounds the handshake line, which holds a certificate; go-plugin
// reads lines of up to 64 KiB.
const maxHandshake = 16 << 10

// handshake is the one line by which a plugin says where it listens:
// core|app|network|address|protocol|certificate, and perhaps more.
type handshake struct {
	core, app         int
	network, address  string
	protocol          string
	certificate       string
	certificateBroken bool
}

// parseHandshake tells the handshake from whatever else a program prints.
func parseHandshake(line string) (handshake, bool) {
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 4 {
		return handshake{}, false
	}
	h := handshake{network: parts[2], address: parts[3]}
	var err error
	if h.core, err = strconv.Atoi(parts[0]); err != nil {
		return handshake{}, false
	}
	if h.app, err = strconv.Atoi(parts[1]); err != nil {
		return handshake{}, false
	}
	if h.network != "unix" && h.network != "tcp" {
		return handshake{}, false
	}
	if len(parts) > 4 {
		h.protocol = parts[4]
	}
	if len(parts) > 5 {
		h.certificate = parts[5]
		h.certificateBroken = h.certificate != "" && !isCertificate(h.certificate)
	}
	return h, true
}

func isCertificate(field string) bool {
	der, err := base64.RawStdEncoding.DecodeString(field)
	if err != nil {
		return false
	}
	_, err = x509.ParseCertificate(der)
	return err == nil
}

// fault says what keeps this host from talking to the plugin.
func (h handshake) fault() error {
	switch {
	case h.core != 1:
		return fmt.Errorf("its handshake has version %d, this host knows version 1; rebuild the plugin with the current sdk", h.core)
	case !slices.Contains(client.Majors(), h.app):
		return fmt.Errorf("it speaks certwright.plugin.v%d, this host speaks %s; %s", h.app, majors(), versionAdvice(h.app))
	case h.protocol != "grpc":
		return fmt.Errorf("it wants to be spoken to by %q, this host only speaks grpc; rebuild the plugin with the current sdk", h.protocol)
	case h.certificate == "" || h.certificateBroken:
		return fmt.Errorf("its handshake brings no usable certificate in the sixth field; it must answer PLUGIN_CLIENT_CERT with one, see docs/protocol.md")
	case h.network == "tcp" && !loopback(h.address):
		return fmt.Errorf("it listens on %s, which is not this machine's loopback; it must listen in PLUGIN_UNIX_SOCKET_DIR", h.address)
	}
	return nil
}

func majors() string {
	var out []string
	for _, m := range client.Majors() {
		out = append(out, fmt.Sprintf("certwright.plugin.v%d", m))
	}
	return strings.Join(out, " and ")
}

func versionAdvice(major int) string {
	if major > slices.Max(client.Majors()) {
		return "update certwright, or install an older version of the plugin"
	}
	return "update the plugin"
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// handshakeFilter stands between a plugin's standard output and go-plugin: it
// lets the first good handshake line pass and nothing else, for as long as the
// process lives, so that no stray print breaks the start or fills the pipe.
type handshakeFilter struct {
	lines lineWriter
	// stray gets each other line and whether it came before the handshake.
	stray func(line string, before bool)

	pass *io.PipeWriter

	mu    sync.Mutex
	seen  bool
	found handshake
	fault error
	ended bool
}

// newHandshakeFilter also gives the end for go-plugin, which MUST be read or
// closed.
func newHandshakeFilter(stray func(line string, before bool)) (*handshakeFilter, *io.PipeReader) {
	r, w := io.Pipe()
	f := &handshakeFilter{pass: w, stray: stray}
	f.lines = lineWriter{max: maxHandshake, emit: f.line, closed: f.end}
	return f, r
}

func (f *handshakeFilter) Write(b []byte) (int, error) { return f.lines.Write(b) }
func (f *handshakeFilter) Close() error                { return f.lines.Close() }

func (f *handshakeFilter) line(line []byte, _ bool) {
	text := string(line)
	h, ok := parseHandshake(text)
	f.mu.Lock()
	first := !f.seen
	if first && ok {
		f.seen, f.found, f.fault = true, h, h.fault()
	}
	fault := f.fault
	f.mu.Unlock()
	switch {
	case !first || !ok:
		f.stray(text, first)
	case fault != nil:
		_ = f.pass.Close()
	default:
		// The reader is go-plugin's scanner, which never stops; if it was
		// closed instead, nobody wants the line.
		_, _ = io.WriteString(f.pass, strings.TrimSpace(text)+"\n")
	}
}

func (f *handshakeFilter) end() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	_ = f.pass.Close()
}

// result gives the handshake, or what was wrong with it. seen is false if there
// was none; ended says that there will be none.
func (f *handshakeFilter) result() (h handshake, seen, ended bool, fault error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.found, f.seen, f.ended, f.fault
}
