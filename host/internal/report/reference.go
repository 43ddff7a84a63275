package report

import (
	"fmt"
	"strings"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// generated stands at the top of what nobody should edit.
const generated = "<!-- Written by `make docs` from what the plugins say of themselves. -->\n"

// Reference is the page of one plugin, as Markdown. more is a link to what the
// plugin cannot say of itself; empty: there is none.
func Reference(d sdk.Description, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s# %s\n\n%s.\n\n", generated, d.Name, capital(cell(strings.TrimSuffix(d.Summary, "."))))
	b.WriteString("| | |\n|---|---|\n")
	for _, row := range facts(d) {
		fmt.Fprintf(&b, "| %s | %s |\n", row[0], cell(row[1]))
	}
	b.WriteString("\n## Settings\n\n")
	if len(d.Settings) == 0 {
		b.WriteString("None.\n")
	} else {
		b.WriteString("| name | type | required | secret | default | meaning |\n|---|---|---|---|---|---|\n")
	}
	for _, s := range d.Settings {
		fallback := ""
		if s.Default != "" {
			fallback = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", s.Name, cell(typeName(s)), yes(s.Required), yes(s.Secret), cell(fallback), cell(s.Doc))
	}
	b.WriteString("\n## Permissions\n\n")
	lines := model.PermissionLines(d.Permissions)
	if len(lines) == 0 {
		b.WriteString("None but its own state directory.\n")
	} else {
		b.WriteString("As `plugins.lock` grants them. It may\n\n")
	}
	for _, line := range lines {
		fmt.Fprintf(&b, "- %s\n", withReason(line, d.Permissions))
	}
	if more != "" {
		fmt.Fprintf(&b, "\nMore: %s\n", more)
	}
	return b.String()
}

// ReferenceIndex is the list of the pages NAME.md.
func ReferenceIndex(all []sdk.Description) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s# The plugins\n\n", generated)
	b.WriteString("What each is, its settings and its permissions; `certwright plugins describe NAME` says the same of the one that is installed.\n\n")
	b.WriteString("| plugin | roles | challenges | what it does |\n|---|---|---|---|\n")
	for _, d := range all {
		var types []string
		for _, ct := range d.ChallengeTypes {
			types = append(types, ct.Type)
		}
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | %s |\n", d.Name, d.Name, strings.Join(d.Roles, ", "), strings.Join(types, ", "), cell(d.Summary))
	}
	return b.String()
}

// facts are what a description says beside settings and permissions: name and
// value. What goes without saying is left out.
func facts(d sdk.Description) [][2]string {
	out := [][2]string{{"roles", strings.Join(d.Roles, ", ")}}
	add := func(name string, values ...string) {
		if text := strings.Join(values, ", "); text != "" {
			out = append(out, [2]string{name, text})
		}
	}
	var types []string
	for _, ct := range d.ChallengeTypes {
		types = append(types, fmt.Sprintf("%s (%s)", ct.Type, strings.Join(ct.IdentifierTypes, ", ")))
	}
	add("challenges", types...)
	switch d.DNS {
	case sdk.HostDNS:
		add("dns", "certwright finds the zone, follows CNAMEs and waits until the record is seen")
	case sdk.SelfDNS:
		add("dns", "the plugin is given name and value, and does the rest")
	}
	add("abilities", d.Features...)
	add("hook events", d.HookEvents...)
	var alone []string
	for _, r := range d.ExclusiveResources {
		alone = append(alone, resource(r))
	}
	add("has to itself", alone...)
	if d.Serial {
		add("orders", "one after the other")
	}
	if d.Env == sdk.UserEnv {
		add("environment", "the one that certwright was started with, less its own variables")
	}
	return out
}

func resource(r sdk.Resource) string {
	switch {
	case r.Kind == sdk.InstanceResource:
		return "its instance"
	case r.Kind == "tcp" && r.Value.Setting != "":
		return "the TCP port of the setting " + r.Value.Setting
	case r.Kind == "tcp":
		return "TCP port " + r.Value.Literal
	case r.Kind == "server" && r.Value.Setting != "":
		return "the server whose configuration the setting " + r.Value.Setting + " names"
	case r.Value.Setting != "":
		return r.Kind + " of the setting " + r.Value.Setting
	case r.Value.Literal != "":
		return r.Kind + " " + r.Value.Literal
	}
	return r.Kind
}

func typeName(s sdk.Setting) string {
	if len(s.Choices) > 0 {
		return strings.Join(s.Choices, " or ")
	}
	switch s.Type {
	case sdk.ListSetting:
		return "list of strings"
	case sdk.MapSetting:
		return "map of strings"
	}
	return string(s.Type)
}

// withReason adds why to the permission that is all of them.
func withReason(line string, p sdk.Permissions) string {
	if strings.HasPrefix(line, model.Unconfined) && p.Reason != "" {
		return line + ": " + p.Reason
	}
	return line
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// cell keeps a text inside its cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}

func capital(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
