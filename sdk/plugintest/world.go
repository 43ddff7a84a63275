package plugintest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

// Placeholders of a world in settings.
const (
	placeDir        = "{dir}"
	placeWeb        = "{web}"
	placeDNS        = "{dns}"
	placeHTTPPort   = "{http_port}"
	placeTLSPort    = "{tls_port}"
	placeTSIGName   = "{tsig_name}"
	placeTSIGSecret = "{tsig_secret}"
)

// Placeholders are those that stand for one thing; {via URL} is beside them.
func Placeholders() []string {
	return []string{placeDir, placeWeb, placeDNS, placeTSIGName, placeTSIGSecret, placeHTTPPort, placeTLSPort}
}

// The key that the world's name server takes besides unsigned updates.
const (
	tsigName   = "plugincheck."
	tsigSecret = "cGx1Z2luY2hlY2sgdHJ1c3RzIGl0c2VsZiBvbmx5IQ=="
)

// challengeDir is below the document root (RFC 8555 section 8.3).
const challengeDir = ".well-known/acme-challenge"

// via is an address that the plugin is to reach through the world.
var via = regexp.MustCompile(`\{via ([^}\s]+)\}`)

// world is what a plugin is pointed to by placeholders in its settings: a
// directory, a web server over it, a name server that takes updates, and proxies
// in front of what the author has. All of it fails when told to.
type world struct {
	dir    string
	zone   string
	faults *faults

	mu      sync.Mutex
	records map[string][]dns.RR
	// what the settings of this suite lead to
	used    map[string]bool
	places  map[string]string
	ports   map[string]int
	closers []func()
}

func newWorld(dir, zone string) *world {
	return &world{
		dir: dir, zone: dns.Fqdn(strings.ToLower(zone)), faults: newFaults(),
		records: map[string][]dns.RR{}, used: map[string]bool{}, places: map[string]string{}, ports: map[string]int{},
	}
}

func (w *world) close() {
	w.faults.clear()
	for i := len(w.closers) - 1; i >= 0; i-- {
		w.closers[i]()
	}
}

// reachable tells whether requests of the plugin come through the world, so that
// it can be made to fail.
func (w *world) reachable() bool {
	return w.used[placeWeb] || w.used[placeDNS] || w.used["via"]
}

// fill replaces placeholders in a value of a setting, however deep.
func (w *world) fill(value any) (any, error) {
	switch v := value.(type) {
	case string:
		return w.fillText(v)
	case []string:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return w.fill(out)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = w.fill(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]string:
		out := map[string]any{}
		for name, text := range v {
			out[name] = text
		}
		return w.fill(out)
	case map[string]any:
		out := map[string]any{}
		for name, one := range v {
			var err error
			if out[name], err = w.fill(one); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return value, nil
}

// fillText gives a number for a port that is the whole text, so that settings of
// either type can have it.
func (w *world) fillText(text string) (any, error) {
	for place, open := range map[string]func() (string, error){
		placeDir: w.openDir, placeWeb: w.openWeb, placeDNS: w.openDNS,
		placeTSIGName:   func() (string, error) { return tsigName, nil },
		placeTSIGSecret: func() (string, error) { return tsigSecret, nil },
		placeHTTPPort:   func() (string, error) { return w.reserve(placeHTTPPort) },
		placeTLSPort:    func() (string, error) { return w.reserve(placeTLSPort) },
	} {
		if !strings.Contains(text, place) {
			continue
		}
		value, err := w.place(place, open)
		if err != nil {
			return nil, err
		}
		if port := w.ports[place]; port != 0 && text == place {
			return port, nil
		}
		text = strings.ReplaceAll(text, place, value)
	}
	for found := via.FindStringSubmatch(text); found != nil; found = via.FindStringSubmatch(text) {
		value, err := w.place(found[0], func() (string, error) { return w.openProxy(found[1]) })
		if err != nil {
			return nil, err
		}
		w.used["via"] = true
		text = strings.ReplaceAll(text, found[0], value)
	}
	return text, nil
}

// place opens what a placeholder stands for, once.
func (w *world) place(name string, open func() (string, error)) (string, error) {
	w.used[name] = true
	if value, ok := w.places[name]; ok {
		return value, nil
	}
	value, err := open()
	if err != nil {
		return "", fmt.Errorf("make %s of the settings: %w", name, err)
	}
	w.places[name] = value
	return value, nil
}

// openDir makes the document root. The directory of challenges is there: it
// belongs to the site, and holds what others have put there.
func (w *world) openDir() (string, error) {
	if err := os.MkdirAll(filepath.Join(w.dir, challengeDir), 0o755); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(w.dir)
}

func (w *world) openWeb() (string, error) {
	if _, err := w.place(placeDir, w.openDir); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(w.dir)
	if err != nil {
		return "", err
	}
	w.closers = append(w.closers, func() { _ = root.Close() })
	return w.serve(webServer{root})
}

func (w *world) openProxy(to string) (string, error) {
	proxy, err := proxyTo(to)
	if err != nil {
		return "", err
	}
	return w.serve(proxy)
}

// serve runs a handler behind the faults.
func (w *world) serve(handler http.Handler) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: w.faults.before(handler), ReadHeaderTimeout: lookLimit}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	w.closers = append(w.closers, func() {
		_ = server.Close()
		<-ended
	})
	return "http://" + listener.Addr().String(), nil
}

// reserve keeps a port for the plugin.
func (w *world) reserve(name string) (string, error) {
	port, release, err := ReservePort()
	if err != nil {
		return "", err
	}
	w.closers = append(w.closers, release)
	w.ports[name] = port
	return strconv.Itoa(port), nil
}

// faultKind is a way to fail.
type faultKind string

const (
	noFault     faultKind = ""
	slow        faultKind = "slow"          // every answer takes a while
	limited     faultKind = "rate-limit"    // 429 with Retry-After
	unavailable faultKind = "unavailable"   // 503, or SERVFAIL
	cutOff      faultKind = "cut-off"       // the connection ends without an answer; nothing was done
	lostAnswer  faultKind = "lost-answer"   // the same, but it was done
	held        faultKind = "held"          // no answer comes; nothing was done
	doneAndHeld faultKind = "done-and-held" // the same, but it was done
)

// faults decides what becomes of each request that comes to the world.
type faults struct {
	mu       sync.Mutex
	kind     faultKind
	left     int  // how many requests more; negative: all
	changes  bool // only those that change something
	seen     int
	arrived  chan struct{}
	released chan struct{}
}

func newFaults() *faults {
	f := &faults{}
	f.set(noFault, 0, false)
	return f
}

// set arms a fault for so many requests. The channel is closed when the first
// request has met it, and what the fault does beforehand is done.
func (f *faults) set(kind faultKind, requests int, changes bool) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.released != nil {
		close(f.released)
	}
	f.kind, f.left, f.changes, f.seen = kind, requests, changes, 0
	f.arrived, f.released = make(chan struct{}), make(chan struct{})
	return f.arrived
}

// clear ends a fault and lets go what it holds.
func (f *faults) clear() { f.set(noFault, 0, false) }

// requests tells how many came since the fault was set.
func (f *faults) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// meeting is what one request meets.
type meeting struct {
	kind     faultKind
	met      func() // to be called when what was to be done is done
	released <-chan struct{}
}

func (f *faults) meet(changes bool) meeting {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen++
	if f.kind == noFault || f.left == 0 || f.changes && !changes {
		return meeting{met: func() {}}
	}
	if f.left > 0 {
		f.left--
	}
	arrived, once := f.arrived, &sync.Once{}
	first := !closed(arrived)
	return meeting{kind: f.kind, released: f.released, met: func() {
		once.Do(func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if first && !closed(arrived) {
				close(arrived)
			}
		})
	}}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// slowness is what an answer of a slow world takes.
const slowness = 200 * time.Millisecond

// wait holds a request as its meeting says.
func (m meeting) wait(ctx context.Context) {
	switch m.kind {
	case slow:
		timer := time.NewTimer(slowness)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-m.released:
		case <-ctx.Done():
		}
	case held, doneAndHeld:
		select {
		case <-m.released:
		case <-ctx.Done():
		}
	}
}

var errNoPort = errors.New("the kernel has no free port")

// makeWorld replaces the placeholders, and makes views of what they stand for.
func (b *bench) makeWorld() error {
	b.views = map[string]view{}
	b.world = newWorld(filepath.Join(b.dir, "world"), b.Domain)
	b.closers = append(b.closers, b.world.close)
	settings, err := b.world.fill(b.Settings)
	if err != nil {
		return err
	}
	b.Settings, _ = settings.(map[string]any)
	secrets := map[string][]byte{}
	for name, secret := range b.Secrets {
		filled, err := b.world.fillText(string(secret))
		if err != nil {
			return err
		}
		secrets[name] = []byte(fmt.Sprint(filled))
	}
	b.Secrets = secrets
	b.ears = newEars(secrets)
	var files []string
	for _, file := range b.DeployedFiles {
		filled, err := b.world.fillText(file)
		if err != nil {
			return err
		}
		files = append(files, fmt.Sprint(filled))
	}
	b.DeployedFiles = files
	var env []string
	for _, entry := range b.Env {
		filled, err := b.world.fillText(entry)
		if err != nil {
			return err
		}
		env = append(env, fmt.Sprint(filled))
	}
	b.Env = env
	if b.world.used[placeDNS] && b.DNSAddress == "" {
		b.views[sdk.DNS01] = b.world
	}
	if port := b.world.ports[placeHTTPPort]; port != 0 && b.HTTPAddress == "" {
		b.HTTPAddress = fmt.Sprint("127.0.0.1:", port)
	}
	if port := b.world.ports[placeTLSPort]; port != 0 && b.TLSAddress == "" {
		b.TLSAddress = fmt.Sprint("127.0.0.1:", port)
	}
	if b.world.used[placeDir] && b.HTTPAddress == "" && b.WebrootPath == "" {
		b.WebrootPath = b.world.places[placeDir]
	}
	return nil
}
