package main

import (
	"bytes"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// document is an icecast.xml.
type document struct {
	data []byte
	root *element
}

func read(data []byte) (document, error) {
	root, err := parse(data)
	if err != nil {
		return document{}, err
	}
	if root.name != "icecast" {
		return document{}, sdk.Problemf(sdk.InvalidConfig, "its root is <%s>, not <icecast>", root.name)
	}
	return document{data: data, root: root}, nil
}

// splice puts text in place of some bytes.
type splice struct {
	start, end int
	text       string
}

// withTLS gives the document with a certificate file and a socket for TLS, and
// with every other byte as it was. One that has both comes back as it is.
func (d document) withTLS(bundle string, port int) ([]byte, error) {
	var all []splice
	for _, step := range []func() ([]splice, error){
		func() ([]splice, error) { return d.nameBundle(bundle) },
		func() ([]splice, error) { return d.openSocket(port) },
	} {
		s, err := step()
		if err != nil {
			return nil, err
		}
		all = append(all, s...)
	}
	slices.SortFunc(all, func(a, b splice) int { return b.start - a.start })
	out := bytes.Clone(d.data)
	for _, s := range all {
		out = slices.Concat(out[:s.start], []byte(s.text), out[s.end:])
	}
	return out, nil
}

// certificateNames are what the file is called: by Icecast 2.4, and by 2.5, which
// takes the old name too.
var certificateNames = []string{"ssl-certificate", "tls-certificate"}

// certificate gives the element that names the file, the last one of all.
func (d document) certificate() *element {
	var out *element
	for _, p := range d.root.all("paths") {
		for _, c := range p.children {
			if slices.Contains(certificateNames, c.name) {
				out = c
			}
		}
	}
	return out
}

func (d document) nameBundle(bundle string) ([]splice, error) {
	value, err := d.inside(bundle)
	if err != nil {
		return nil, err
	}
	if c := d.certificate(); c != nil {
		if c.text == value && len(c.children) == 0 {
			return nil, nil
		}
		return []splice{d.fill(c, value)}, nil
	}
	paths := d.root.last("paths")
	if paths == nil {
		err := sdk.Problemf(sdk.InvalidConfig, "it has no <paths>, without which Icecast does not start")
		return nil, sdk.Hint(err, "add <paths> with basedir, logdir, webroot and adminroot")
	}
	return []splice{d.appendTo(paths, "<"+certificateNames[0]+">"+escape(value)+"</"+certificateNames[0]+">")}, nil
}

// inside gives the path as Icecast sees it: in its new root, if it changes that.
func (d document) inside(bundle string) (string, error) {
	base := d.chroot()
	if base == "" {
		return bundle, nil
	}
	rest, ok := strings.CutPrefix(path.Clean(bundle), strings.TrimSuffix(path.Clean(base), "/")+"/")
	if !ok {
		err := sdk.Problemf(sdk.InvalidConfig, "Icecast changes its root to %s, so it cannot read %s", base, bundle)
		return "", sdk.Hint(sdk.Subject(err, "bundle"), "set bundle to a path below %s", base)
	}
	return "/" + rest, nil
}

// outside is the opposite: where a path of the document is on this machine.
func (d document) outside(name string) string {
	if base := d.chroot(); base != "" && name != "" {
		return path.Join(base, name)
	}
	return name
}

// chroot gives the new root; empty: there is none.
func (d document) chroot() string {
	security := d.root.last("security")
	if security == nil || !isTrue(security.value("chroot")) {
		return ""
	}
	if paths := d.root.last("paths"); paths != nil {
		return paths.value("basedir")
	}
	return ""
}

// openSocket gives TLS to a socket, if none has it.
func (d document) openSocket(port int) ([]splice, error) {
	sockets := d.root.all("listen-socket")
	if slices.ContainsFunc(sockets, hasTLS) {
		return nil, nil
	}
	if len(sockets) == 0 {
		err := sdk.Problemf(sdk.Unsupported, "it has no <listen-socket>: it uses the older <port>")
		return nil, sdk.Hint(err, "put the <port> into a <listen-socket>")
	}
	n := slices.IndexFunc(sockets, func(s *element) bool { return port != 0 && strings.TrimSpace(s.value("port")) == strconv.Itoa(port) })
	if port == 0 {
		// Of a socket for shoutcast, the port after it is opened, too.
		n = max(0, slices.IndexFunc(sockets, func(s *element) bool { return s.last("shoutcast-mount") == nil }))
	}
	if n >= 0 {
		return d.mark(sockets[n]), nil
	}
	return []splice{d.addSocket(sockets, port)}, nil
}

// hasTLS says whether a socket has TLS: <ssl>1</ssl>, or what 2.5 calls it.
func hasTLS(socket *element) bool {
	mode := strings.ToLower(strings.TrimSpace(socket.value("tls-mode")))
	return isTrue(socket.value("ssl")) || isTrue(socket.value("tls")) || slices.Contains([]string{"auto", "rfc2817", "rfc2818"}, mode)
}

// isTrue reads a number, as Icecast does, and the words that 2.5 takes too.
func isTrue(text string) bool {
	text = strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimLeft(text, "+-0")
	return digits != "" && digits[0] >= '1' && digits[0] <= '9' || slices.Contains([]string{"true", "yes", "on"}, text)
}

func (d document) mark(socket *element) []splice {
	if ssl := socket.last("ssl"); ssl != nil {
		return []splice{d.fill(ssl, "1")}
	}
	return []splice{d.appendTo(socket, "<ssl>1</ssl>")}
}

// addSocket puts a socket after the others: the first one's port is that which
// Icecast announces. It listens where the first one does.
func (d document) addSocket(sockets []*element, port int) splice {
	first, last := sockets[0], sockets[len(sockets)-1]
	outer := d.indent(last.start)
	inner := outer
	if outer != "" {
		inner += "    "
		if len(first.children) > 0 {
			inner = d.indent(first.children[0].start)
		}
	}
	lines := []string{fmt.Sprintf("<port>%d</port>", port), "<ssl>1</ssl>"}
	if bind := strings.TrimSpace(first.value("bind-address")); bind != "" {
		lines = slices.Insert(lines, 1, "<bind-address>"+escape(bind)+"</bind-address>")
	}
	text := outer + "<listen-socket>"
	for _, line := range lines {
		text += inner + line
	}
	if inner != "" {
		text += outer
	}
	return splice{last.end, last.end, text + "</listen-socket>"}
}

// fill gives an element a text; comments in it stay.
func (d document) fill(e *element, value string) splice {
	if e.empty() {
		tag := strings.TrimRight(strings.TrimSuffix(string(d.data[e.start:e.open]), "/>"), " \t\r\n")
		return splice{e.start, e.end, tag + ">" + escape(value) + "</" + e.tag(d.data) + ">"}
	}
	text := escape(value)
	if inside := d.data[e.open:e.close]; !bytes.Contains(inside, []byte("<![CDATA[")) {
		text += string(bytes.Join(commentPattern.FindAll(inside, -1), nil))
	}
	return splice{e.open, e.close, text}
}

var commentPattern = regexp.MustCompile(`(?s)<!--.*?-->`)

// tag is the name as it stands there, with a prefix if it has one.
func (e *element) tag(data []byte) string {
	text := string(data[e.start+1 : e.open])
	if n := strings.IndexAny(text, " \t\r\n/>"); n >= 0 {
		text = text[:n]
	}
	return text
}

// appendTo puts a child behind the last one of an element, on a line of its own if
// that has one.
func (d document) appendTo(e *element, child string) splice {
	if e.empty() {
		tag := strings.TrimRight(strings.TrimSuffix(string(d.data[e.start:e.open]), "/>"), " \t\r\n")
		return splice{e.start, e.end, tag + ">" + child + "</" + e.tag(d.data) + ">"}
	}
	if len(e.children) == 0 {
		return splice{e.close, e.close, child}
	}
	last := e.children[len(e.children)-1]
	return splice{last.end, last.end, d.indent(last.start) + child}
}

// indent is the end of the line before an element and the white space up to it;
// empty if something else stands before it.
func (d document) indent(at int) string {
	from := at
	for from > 0 && (d.data[from-1] == ' ' || d.data[from-1] == '\t') {
		from--
	}
	if from == 0 || d.data[from-1] != '\n' {
		return ""
	}
	from--
	if from > 0 && d.data[from-1] == '\r' {
		from--
	}
	return string(d.data[from:at])
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func escape(text string) string { return escaper.Replace(text) }

// endpoints are where Icecast speaks TLS, as host:port.
func (d document) endpoints() []string {
	var out []string
	for _, s := range d.root.all("listen-socket") {
		port, err := strconv.ParseUint(strings.TrimSpace(s.value("port")), 10, 16)
		if !hasTLS(s) || err != nil || port == 0 {
			continue
		}
		host := strings.TrimSpace(s.value("bind-address"))
		switch host {
		case "", "0.0.0.0":
			host = "127.0.0.1"
		case "::":
			host = "::1"
		}
		out = append(out, net.JoinHostPort(host, strconv.FormatUint(port, 10)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
