package report

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Plugin is one line of `plugins list`.
type Plugin struct {
	Name string
	Path string
	// Refused says why it cannot be used; nil: it can.
	Refused     error
	Description sdk.Description
	// Locked is the version that plugins.lock names; empty: none.
	Locked string
}

// Plugin shows one plugin that was found.
func (t *Terminal) Plugin(p Plugin) {
	if t.JSON {
		t.json(struct {
			Type    string   `json:"type"`
			Name    string   `json:"name"`
			Path    string   `json:"path"`
			Version string   `json:"version,omitempty"`
			Summary string   `json:"summary,omitempty"`
			Roles   []string `json:"roles,omitempty"`
			Locked  string   `json:"locked,omitempty"`
			// Unconfined is left out of one in a sandbox.
			Unconfined bool       `json:"unconfined,omitempty"`
			Refused    *errorJSON `json:"refused,omitempty"`
		}{"plugin", p.Name, p.Path, p.Description.Version, p.Description.Summary, p.Description.Roles, p.Locked,
			p.Description.Permissions.Unconfined, toErrorJSON(p.Refused)})
		return
	}
	if p.Refused != nil {
		t.Print(fmt.Sprintf("%s REFUSED: %v\n", p.Name, p.Refused))
		if hint := Hint(p.Refused); hint != "" {
			t.Print("  hint: " + hint + "\n")
		}
		return
	}
	d := p.Description
	var words []string
	if p.Locked != "" {
		words = append(words, "locked")
	}
	if d.Permissions.Unconfined {
		words = append(words, "unconfined")
	}
	told := ""
	if len(words) > 0 {
		told = " (" + strings.Join(words, ", ") + ")"
	}
	t.Print(fmt.Sprintf("%s %s (%s): %s\n  %s%s\n", p.Name, d.Version, strings.Join(d.Roles, ", "), d.Summary, p.Path, told))
}

// Searched tells where plugins were looked for.
func (t *Terminal) Searched(dirs []string) {
	if t.JSON {
		t.json(struct {
			Type string   `json:"type"`
			Dirs []string `json:"dirs"`
		}{"searched", dirs})
		return
	}
	t.Tell("", "searched %s", strings.Join(dirs, ", "))
}

// Description shows what a plugin says of itself.
func (t *Terminal) Description(d sdk.Description) {
	if t.JSON {
		t.json(struct {
			Type string `json:"type"`
			sdk.Description
		}{"description", d})
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", d.Name, d.Version, d.Summary)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range facts(d) {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	for _, line := range model.PermissionLines(d.Permissions) {
		fmt.Fprintf(w, "may\t%s\n", withReason(line, d.Permissions))
	}
	_ = w.Flush() // a strings.Builder takes everything
	if len(d.Settings) > 0 {
		b.WriteString("settings\n")
	}
	w = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range d.Settings {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", s.Name, settingKind(s), s.Doc)
	}
	_ = w.Flush()
	t.Print(b.String())
}

func settingKind(s sdk.Setting) string {
	kind := strings.TrimPrefix(string(s.Type), "string_")
	switch {
	case s.Secret:
		kind = "secret"
	case len(s.Choices) > 0:
		kind = strings.Join(s.Choices, "|")
	}
	if s.Required {
		kind += ", required"
	}
	if s.Default != "" {
		kind += ", default " + s.Default
	}
	return kind
}

// Checked tells that the configuration is in order.
func (t *Terminal) Checked(files []string, instances, certificates int) {
	if t.JSON {
		t.json(struct {
			Type         string   `json:"type"`
			Files        []string `json:"files"`
			Instances    int      `json:"instances"`
			Certificates int      `json:"certificates"`
		}{"checked", append([]string{}, files...), instances, certificates})
		return
	}
	where := strings.Join(files, ", ")
	if where == "" {
		where = "no configuration file"
	}
	t.Print(fmt.Sprintf("in order: %s (%s, %s)\n", where, plural(instances, "instance"), plural(certificates, "certificate")))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Version shows the program's version.
func (t *Terminal) Version(version string) {
	if t.JSON {
		t.json(struct {
			Type    string `json:"type"`
			Version string `json:"version"`
		}{"version", version})
		return
	}
	t.Print("certwright " + version + "\n")
}
