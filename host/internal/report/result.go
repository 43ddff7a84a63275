package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// Exit codes.
const (
	Done    = 0
	Failed  = 1
	Usage   = 2
	Partial = 3
)

// UsageError marks an error as one of usage or configuration.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e *UsageError) Unwrap() error { return e.Err }

// Usage marks it.
func (e *UsageError) Usage() bool { return true }

// ExitCode says how the process ends after an error; nil gives Done.
func ExitCode(err error) int {
	if err == nil {
		return Done
	}
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	var usage interface{ Usage() bool }
	if errors.As(err, &usage) && usage.Usage() {
		return Usage
	}
	return Failed
}

// OutcomesError is what a run ends with when some or all of it failed. The
// single errors have been shown already.
type OutcomesError struct {
	// Failed certificates of All.
	Failed, All int
	// Partial says that something went well, if only one target of one
	// certificate.
	Partial bool
	// Usage says that every failure is a mistake of usage or configuration.
	Usage bool
	// Deployment says that every failure is one of a deployment: the certificates
	// are there.
	Deployment bool
}

func (e *OutcomesError) Error() string {
	switch {
	case e.All == 1 && e.Deployment:
		return "a deployment failed"
	case e.All == 1:
		return "the certificate failed"
	case e.Deployment:
		return fmt.Sprintf("deployments of %d of %d certificates failed", e.Failed, e.All)
	}
	return fmt.Sprintf("%d of %d certificates failed", e.Failed, e.All)
}

// ExitCode is Partial if something went well.
func (e *OutcomesError) ExitCode() int {
	switch {
	case e.Partial:
		return Partial
	case e.Usage:
		return Usage
	}
	return Failed
}

// onlyUsage says that an error is one of usage in all its parts: with a better
// command line or configuration none of it would have happened.
func onlyUsage(err error) bool {
	if own, ok := err.(interface{ Usage() bool }); ok && own.Usage() {
		return true
	}
	switch parts := err.(type) { //nolint:errorlint // walks the chain itself: all parts count, not one
	case interface{ Unwrap() error }:
		return onlyUsage(parts.Unwrap())
	case interface{ Unwrap() []error }:
		all := parts.Unwrap()
		return len(all) > 0 && !slices.ContainsFunc(all, func(err error) bool { return !onlyUsage(err) })
	}
	return false
}

// Outcomes shows what became of each lineage and gives the run's error.
func (t *Terminal) Outcomes(outcomes []model.Outcome) error {
	failed, partial, usage, deployment := 0, false, true, true
	for _, o := range outcomes {
		parts := o.Parts()
		partial = partial || parts.Failed < parts.All
		if t.JSON {
			t.json(outcomeJSON(o))
		} else {
			t.outcome(o)
		}
		if o.Err != nil {
			failed++
			usage, deployment = usage && onlyUsage(o.Err), deployment && undeployed(o)
			t.Error(o.Name, o.Err)
		}
	}
	if failed > 0 {
		return &OutcomesError{Failed: failed, All: len(outcomes), Partial: partial, Usage: usage, Deployment: deployment}
	}
	if len(outcomes) == 0 {
		t.noCertificates()
	}
	return nil
}

// undeployed: there is a certificate, and a target that it did not come to.
func undeployed(o model.Outcome) bool {
	return (o.Issued || o.Action == model.Deploy) && o.Version != nil && slices.ContainsFunc(o.Tried, func(name string) bool {
		t := o.Targets[name]
		return t.Error != "" || t.Deployed != o.Version.Number
	})
}

func (t *Terminal) outcome(o model.Outcome) {
	switch {
	case o.Err == nil && o.Action == model.None:
		if t.Quiet { // nothing was done: cron has nothing to mail
			return
		}
		t.Print(fmt.Sprintf("%s: %s\n", o.Name, o.Why))
	case o.Version != nil:
		if o.Issued {
			t.Print(fmt.Sprintf("%s: version %d, valid until %s\n  certificate %s\n  key         %s\n",
				o.Name, o.Version.Number, day(o.Version.NotAfter), o.Paths.Fullchain, orElsewhere(o.Paths.Privkey)))
		}
	}
	t.Print(diffsText(o.Name, o.Diffs))
	for _, name := range o.Tried {
		if target := o.Targets[name]; target.Error == "" {
			t.Print(fmt.Sprintf("%s: %s\n", o.Name, targetLine(name, target)))
		}
	}
}

// orElsewhere is where a key is, which of a CSR only its owner knows.
func orElsewhere(path string) string {
	if path == "" {
		return "not here: obtained by a certificate request"
	}
	return path
}

func (t *Terminal) json(v any) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Warn("", "encode the result: %v", err)
		return
	}
	t.Print(b.String())
}

type errorJSON struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func toErrorJSON(err error) *errorJSON {
	if err == nil {
		return nil
	}
	return &errorJSON{Message: err.Error(), Hint: Hint(err)}
}

type outcomeLine struct {
	Type    string                  `json:"type"`
	Name    string                  `json:"name"`
	OK      bool                    `json:"ok"`
	Action  model.Action            `json:"action"`
	Why     string                  `json:"why"`
	Due     time.Time               `json:"due,omitzero"`
	Version *model.Version          `json:"version,omitempty"`
	Paths   *model.Paths            `json:"paths,omitempty"`
	Targets map[string]model.Target `json:"targets,omitempty"`
	Diffs   map[string]string       `json:"diffs,omitempty"`
	Error   *errorJSON              `json:"error,omitempty"`
}

func outcomeJSON(o model.Outcome) outcomeLine {
	line := outcomeLine{
		Type: "outcome", Name: o.Name, OK: o.Err == nil, Action: o.Action, Why: o.Why, Due: o.Due.UTC(),
		Version: o.Version, Targets: o.Targets, Diffs: o.Diffs, Error: toErrorJSON(o.Err),
	}
	if o.Paths != (model.Paths{}) {
		line.Paths = &o.Paths
	}
	return line
}

// Fatal shows the error that ended the command, on stdout too if results are
// JSON.
func (t *Terminal) Fatal(err error) {
	var outcomes *OutcomesError
	if errors.As(err, &outcomes) {
		t.write(t.Err, "error: "+outcomes.Error()+"\n")
		return
	}
	t.Error("", err)
	if t.JSON {
		t.json(struct {
			Type string `json:"type"`
			errorJSON
			ExitCode int `json:"exit_code"`
		}{"error", *toErrorJSON(err), ExitCode(err)})
	}
}

func (t *Terminal) noCertificates() { t.Tell("", "there are no certificates") }

// Plan shows what would be done.
func (t *Terminal) Plan(p model.Plan) {
	if len(p.Items) == 0 {
		t.noCertificates()
	}
	for _, item := range p.Items {
		if t.JSON {
			t.json(struct {
				Type   string       `json:"type"`
				Name   string       `json:"name"`
				Names  []string     `json:"names"`
				Action model.Action `json:"action"`
				Why    string       `json:"why"`
				Due    time.Time    `json:"due,omitzero"`
				Deploy []string     `json:"deploy,omitempty"`

				Diffs map[string]string `json:"diffs,omitempty"`
			}{"plan", item.Request.Name, item.Request.Names(), item.Action, item.Why, item.Due.UTC(), item.Deploy, item.Diffs})
			continue
		}
		text := fmt.Sprintf("%-7s %s: %s\n", item.Action, item.Request.Name, item.Why)
		if item.Action == model.Issue || item.Action == model.Renew {
			for _, id := range item.Request.Identifiers {
				text += fmt.Sprintf("          %s proven by %s\n", id, orNobody(item.Request.Ways(id)))
			}
			if len(item.Deploy) > 0 {
				text += "          then deployed to " + strings.Join(item.Deploy, ", ") + "\n"
			}
		}
		t.Print(text + diffsText(item.Request.Name, item.Diffs))
	}
}

func orNobody(ways [][]string) string {
	if len(ways) == 0 {
		return "nobody: name an authenticator"
	}
	var out []string
	for _, way := range ways {
		out = append(out, strings.Join(way, " and "))
	}
	return strings.Join(out, ", else ")
}

// Certificates lists lineages. isTest says which CAs issue what no client
// trusts, check what is wrong with the files of a lineage.
func (t *Terminal) Certificates(
	lineages []model.Lineage, paths func(model.Lineage) model.Paths, now time.Time, isTest func(server string) bool,
	check func(model.Lineage) error,
) {
	for _, l := range lineages {
		if l.Version == nil {
			continue
		}
		v := *l.Version
		p, damage := paths(l), ""
		if err := check(l); err != nil {
			damage = err.Error()
		}
		if t.JSON {
			t.json(certificateLine{
				Type: "certificate", Name: l.Name, Names: v.Names, KeyType: v.KeyType, Server: l.Request.Server,
				Version: v.Number, Serial: v.Serial, Fingerprint: v.Fingerprint, Issuer: v.Issuer,
				NotBefore: v.NotBefore.UTC(), NotAfter: v.NotAfter.UTC(), DaysLeft: daysLeft(now, v.NotAfter),
				Revoked: v.Revoked, Damaged: damage, Paths: p, Targets: l.Targets,
			})
			continue
		}
		var b strings.Builder
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "%s\n", l.Name)
		fmt.Fprintf(w, "  names\t%s\n", strings.Join(v.Names, ", "))
		issuer := v.Issuer
		if isTest(l.Request.Server) {
			issuer += " (test CA)"
		}
		fmt.Fprintf(w, "  issuer\t%s\n", issuer)
		fmt.Fprintf(w, "  key\t%s\n", v.KeyType)
		fmt.Fprintf(w, "  expires\t%s (%s)\n", minute(v.NotAfter), left(now, v.NotAfter))
		if v.Revoked != nil {
			fmt.Fprintf(w, "  REVOKED\ton %s (%s), the next renew replaces it\n", minute(v.Revoked.At), v.Revoked.Reason)
		}
		if damage != "" {
			fmt.Fprintf(w, "  DAMAGED\t%s; mend it with certwright renew --cert-name %s\n", damage, l.Name)
		}
		fmt.Fprintf(w, "  version\t%d, serial %s\n", v.Number, v.Serial)
		fmt.Fprintf(w, "  certificate\t%s\n", p.Fullchain)
		fmt.Fprintf(w, "  private key\t%s\n", orElsewhere(p.Privkey))
		for _, name := range sortedKeys(l.Targets) {
			fmt.Fprintf(w, "  deployed\t%s\n", targetState(name, l.Targets[name], now))
		}
		if len(l.Targets) == 0 {
			fmt.Fprintf(w, "  deployed\tnowhere\n")
		}
		if l.Failures != nil {
			fmt.Fprintf(w, "  failures\t%d since the last success, the last on %s: %s\n", l.Failures.Count, day(l.Failures.Last), firstLine(l.Failures.Error))
		}
		_ = w.Flush() // a strings.Builder takes everything
		t.Print(b.String())
	}
	if len(lineages) == 0 {
		t.noCertificates()
	}
}

type certificateLine struct {
	Type        string                  `json:"type"`
	Name        string                  `json:"name"`
	Names       []string                `json:"names"`
	KeyType     model.KeyType           `json:"key_type"`
	Server      string                  `json:"server"`
	Version     int                     `json:"version"`
	Serial      string                  `json:"serial"`
	Fingerprint string                  `json:"fingerprint"`
	Issuer      string                  `json:"issuer"`
	NotBefore   time.Time               `json:"not_before"`
	NotAfter    time.Time               `json:"not_after"`
	DaysLeft    int                     `json:"days_left"`
	Revoked     *model.Revoked          `json:"revoked,omitempty"`
	Damaged     string                  `json:"damaged,omitempty"`
	Paths       model.Paths             `json:"paths"`
	Targets     map[string]model.Target `json:"targets,omitempty"`
}

func daysLeft(now, until time.Time) int { return int(math.Floor(until.Sub(now).Hours() / 24)) }

func left(now, until time.Time) string {
	switch n := daysLeft(now, until); {
	case n < 0:
		return "EXPIRED"
	case n == 1:
		return "1 day left"
	default:
		return fmt.Sprintf("%d days left", n)
	}
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
