package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// targetLine says what a target that is well serves.
func targetLine(name string, t model.Target) string {
	switch {
	case t.Deployed == 0:
		return name + " not deployed"
	case t.Proven == t.Deployed:
		var at []string
		for _, e := range t.Endpoints {
			if !slices.Contains(at, e.Address) {
				at = append(at, e.Address)
			}
		}
		return fmt.Sprintf("%s serves version %d, proven at %s", name, t.Deployed, strings.Join(at, ", "))
	}
	why := "it names no endpoint"
	if len(t.Endpoints) > 0 {
		why = "it was not asked since"
	}
	return fmt.Sprintf("%s has version %d (not proven: %s)", name, t.Deployed, why)
}

// targetState says all that is known of a target, on one line.
func targetState(name string, t model.Target, now time.Time) string {
	text := targetLine(name, t)
	if !t.Since.IsZero() && t.Deployed > 0 {
		text += ", since " + minute(t.Since)
	}
	for _, enhancement := range slices.Sorted(maps.Keys(t.Enhanced)) {
		if names := t.Enhanced[enhancement]; len(names) > 0 {
			text += fmt.Sprintf(", %s for %s", enhancement, strings.Join(names, " "))
		}
	}
	if t.RolledBack > 0 {
		text += fmt.Sprintf(", version %d was rolled back", t.RolledBack)
	}
	if t.Error == "" {
		return text
	}
	text += "; failed"
	if t.Failures > 1 {
		text += fmt.Sprintf(" %d times, last", t.Failures)
	}
	if !t.At.IsZero() {
		text += " on " + minute(t.At)
	}
	switch {
	case t.Failures == 0: // it was interrupted, or rolled back
	case t.Retry.After(now):
		text += ", next try on " + minute(t.Retry)
	default:
		text += ", the next renew tries again"
	}
	return text + ": " + firstLine(t.Error)
}

// firstLine keeps an error from breaking a table; all of it was told when it
// happened.
func firstLine(text string) string {
	first, _, more := strings.Cut(text, "\n")
	if more {
		return strings.TrimRight(first, " :") + " ..."
	}
	return first
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

type takenBackLine struct {
	Type       string       `json:"type"`
	Name       string       `json:"name"`
	Installer  string       `json:"installer"`
	Checkpoint string       `json:"checkpoint"`
	Files      []string     `json:"files,omitempty"`
	Target     model.Target `json:"target"`
}

// TakenBack shows what was rolled back.
func (t *Terminal) TakenBack(b model.TakenBack) {
	if t.JSON {
		t.json(takenBackLine{"rolled_back", b.Lineage, b.Installer, b.Checkpoint.ID, b.Checkpoint.Files, b.Target})
		return
	}
	text := fmt.Sprintf("%s: what was deployed on %s is taken back", b.Lineage, minute(b.Checkpoint.At))
	if b.Checkpoint.At.IsZero() {
		text = fmt.Sprintf("%s: what was deployed last is taken back", b.Lineage)
	}
	if b.Target.Error == "" {
		text += ": " + targetLine(b.Installer, b.Target)
	}
	text += "\n"
	for _, file := range b.Checkpoint.Files {
		text += "  " + file + "\n"
	}
	t.Print(text)
}

// diffsText shows what would be written.
func diffsText(lineage string, diffs map[string]string) string {
	var b strings.Builder
	for _, name := range sortedKeys(diffs) {
		if diffs[name] == "" {
			fmt.Fprintf(&b, "%s: %s would write nothing new\n", lineage, name)
			continue
		}
		fmt.Fprintf(&b, "%s: %s would write\n%s", lineage, name, diffs[name])
		if !strings.HasSuffix(diffs[name], "\n") {
			b.WriteString("\n")
		}
	}
	return b.String()
}
