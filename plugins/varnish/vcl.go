package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// challengePrefix is where http-01 is asked for (RFC 8555 section 8.3).
const challengePrefix = "/.well-known/acme-challenge/"

var (
	// tokenPattern is base64url (RFC 8555 section 8.1); bodyPattern two of them.
	// Nothing else gets into a VCL.
	tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	bodyPattern  = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)
)

// ownPrefix is that of the VCLs that we load.
const ownPrefix = "certwright-"

func newName() string { return ownPrefix + strings.ToLower(rand.Text()[:12]) }

func own(name string) bool { return strings.HasPrefix(name, ownPrefix) }

// answers are key authorizations by their tokens.
type answers map[string]string

// What a VCL of ours says of itself, in comments of its first lines.
const (
	originalMark  = "# certwright: original "
	challengeMark = "# certwright: challenge "
	healthMark    = "# certwright: health "
	endMark       = "# certwright: what follows is the original"
)

// wrap puts the answers before everything that a VCL does. Its own subroutines
// of the same names run after ours.
func wrap(w wrapped) (string, error) {
	syntax, err := syntaxOf(w.flat)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s%s\n", syntax, originalMark, strconv.QuoteToASCII(w.original))
	for _, name := range slices.Sorted(maps.Keys(w.health)) {
		fmt.Fprintf(&b, "%s%s %s\n", healthMark, w.health[name], strconv.QuoteToASCII(name))
	}
	tokens := slices.Sorted(maps.Keys(w.answers))
	for _, token := range tokens {
		fmt.Fprintf(&b, "%s%s %s\n", challengeMark, token, w.answers[token])
	}
	b.WriteString("sub vcl_recv {\n\tif (")
	for n, token := range tokens {
		if n > 0 {
			b.WriteString(" ||\n\t    ")
		}
		fmt.Fprintf(&b, "req.url == %q", challengePrefix+token)
	}
	b.WriteString(") {\n\t\treturn (synth(750));\n\t}\n}\nsub vcl_synth {\n")
	for _, token := range tokens {
		fmt.Fprintf(&b, "\tif (resp.status == 750 && req.url == %q) {\n", challengePrefix+token)
		b.WriteString("\t\tset resp.status = 200;\n\t\tset resp.reason = \"OK\";\n")
		b.WriteString("\t\tset resp.http.Content-Type = \"text/plain\";\n\t\tset resp.http.Cache-Control = \"no-store\";\n")
		fmt.Fprintf(&b, "\t\tsynthetic(%q);\n\t\treturn (deliver);\n\t}\n", w.answers[token])
	}
	b.WriteString("}\n" + endMark + "\n" + w.flat)
	return b.String(), nil
}

// wrapped is what a VCL of ours tells.
type wrapped struct {
	original string
	answers  answers
	// health is what the operator had said of backends of the original.
	health map[string]string
	// flat is the text of the original.
	flat string
}

// errNotOurs: a VCL that has a name of ours and is none.
var errNotOurs = errors.New("it is not a VCL of ours")

// unwrap reads a VCL of ours.
func unwrap(text string) (wrapped, error) {
	w := wrapped{answers: answers{}, health: map[string]string{}}
	head, flat, ok := strings.Cut(text, endMark+"\n")
	if !ok {
		return w, fmt.Errorf("%w: the end of our part is missing", errNotOurs)
	}
	w.flat = flat
	for lines := bufio.NewScanner(strings.NewReader(head)); lines.Scan(); {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, originalMark); ok {
			original, err := strconv.Unquote(name)
			if err != nil {
				return w, fmt.Errorf("%w: the name of the original cannot be read: %w", errNotOurs, err)
			}
			w.original = original
		}
		if health, ok := strings.CutPrefix(line, healthMark); ok {
			state, quoted, _ := strings.Cut(health, " ")
			if name, err := strconv.Unquote(quoted); err == nil {
				w.health[name] = state
			}
		}
		if challenge, ok := strings.CutPrefix(line, challengeMark); ok {
			token, body, _ := strings.Cut(challenge, " ")
			if tokenPattern.MatchString(token) && bodyPattern.MatchString(body) {
				w.answers[token] = body
			}
		}
	}
	if w.original == "" {
		return w, fmt.Errorf("%w: the name of the original is missing", errNotOurs)
	}
	return w, nil
}

// program is a VCL that is loaded, or a label.
type program struct {
	Name        string `json:"name"`
	Status      string `json:"status"`      // active, available, discarded
	State       string `json:"state"`       // auto, warm, cold, label
	Temperature string `json:"temperature"` // a label has none of its own
	Label       *struct {
		Name string `json:"name"`
	} `json:"label"`
}

// programs are all VCLs of a varnishd.
type programs []program

func (all programs) active() string {
	for _, p := range all {
		if p.Status == "active" {
			return p.Name
		}
	}
	return ""
}

// find gives a VCL that can be used. One that is discarded goes on to be listed
// while it is busy.
func (all programs) find(name string) (program, bool) {
	n := slices.IndexFunc(all, func(p program) bool { return p.Name == name && p.Status != "discarded" })
	if n < 0 {
		return program{}, false
	}
	return all[n], true
}

// behind gives the VCL that a label stands for; of a VCL, itself.
func (all programs) behind(name string) string {
	if p, ok := all.find(name); ok && p.Label != nil {
		return p.Label.Name
	}
	return name
}

// idle gives the VCLs of ours that are not in use.
func (all programs) idle() []string {
	var out []string
	for _, p := range all {
		if own(p.Name) && p.Status == "available" && p.Label == nil {
			out = append(out, p.Name)
		}
	}
	return out
}

func (c *cli) list(ctx context.Context) (programs, error) {
	text, err := c.do(ctx, "vcl.list", "-j")
	if err != nil {
		return nil, sdk.Hint(err, "use Varnish 6.2 or later; with an older one, the setting listen")
	}
	var parts []json.RawMessage // version, the command, the time, and then the VCLs
	const preamble = 3
	if err := json.Unmarshal([]byte(text), &parts); err != nil || len(parts) < preamble {
		return nil, fmt.Errorf("the list of varnishd's VCLs cannot be read: %s", quote(text))
	}
	var out programs
	for _, part := range parts[preamble:] {
		var p program
		if err := json.Unmarshal(part, &p); err != nil || p.Name == "" {
			return nil, fmt.Errorf("the list of varnishd's VCLs cannot be read: %s", quote(string(part)))
		}
		out = append(out, p)
	}
	return out, nil
}

// show gives the sources of a VCL. What varnishd would cut off it gives after
// its limit was raised for a moment.
func (c *cli) show(ctx context.Context, name string) ([]source, error) {
	status, text, err := c.ask(ctx, "vcl.show", "-v", name)
	if err == nil && status == cliTruncated {
		var limit string
		if limit, err = c.limit(ctx); err == nil {
			defer func() { _, _ = c.do(context.WithoutCancel(ctx), "param.set", "cli_limit", limit) }()
			_, err = c.do(ctx, "param.set", "cli_limit", strconv.Itoa(answerLimit))
		}
		if err == nil {
			status, text, err = c.ask(ctx, "vcl.show", "-v", name)
		}
	}
	if err == nil && status != cliOK {
		err = refused([]string{"vcl.show", "-v", name}, status, text)
	}
	if err != nil {
		return nil, err
	}
	return sources(text)
}

// limitPattern finds a parameter's value as `param.show` prints it.
var limitPattern = regexp.MustCompile(`Value is: ([0-9]+[kmgb]?)`)

func (c *cli) limit(ctx context.Context) (string, error) {
	text, err := c.do(ctx, "param.show", "cli_limit")
	if err != nil {
		return "", err
	}
	m := limitPattern.FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("the value of varnishd's parameter cli_limit cannot be read: %s", quote(text))
	}
	return m[1], nil
}
