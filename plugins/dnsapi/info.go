package main

import (
	"context"
	"regexp"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// option is a variable that a script says it wants.
type option struct{ name, doc string }

var (
	infoBlock = regexp.MustCompile(`(?m)^dns_[A-Za-z0-9_]+_info=(?:'([^']*)'|"([^"]*)")`)
	infoName  = regexp.MustCompile(`^ +[A-Za-z0-9_]*[A-Z][A-Za-z0-9_]*:?( |$)|^[A-Z][A-Z0-9]*_[A-Za-z0-9_]*:?( |$)`)
	infoField = regexp.MustCompile(`^([A-Z][A-Za-z]*):(.*)$`)
)

// optionsOf reads the lines below "Options:" and "OptionsAlt:" in the block
// dns_NAME_info of a script.
func optionsOf(text string) []option {
	match := infoBlock.FindStringSubmatch(text)
	if match == nil {
		return nil
	}
	var out []option
	prefix, inside := "", false
	for line := range strings.Lines(match[1] + match[2]) {
		line = strings.TrimRight(line, " \t\r\n")
		if field := infoField.FindStringSubmatch(line); field != nil {
			inside = strings.HasPrefix(field[1], "Options")
			prefix = ""
			if inside && field[1] != "Options" {
				prefix = "instead: "
			}
			continue
		}
		if !inside {
			continue
		}
		name, doc, _ := strings.Cut(strings.TrimSpace(line), " ")
		name = strings.TrimSuffix(name, ":")
		switch {
		case infoName.MatchString(line) && identifier.MatchString(name):
			out = append(out, option{name, prefix + strings.TrimSpace(doc)})
		case len(out) > 0 && strings.TrimSpace(line) != "":
			out[len(out)-1].doc += " " + strings.TrimSpace(line) // goes on
		}
	}
	return out
}

// DescribeSettings shows the variables of the script.
func (d *dnsapi) DescribeSettings(context.Context) []sdk.Setting {
	var out []sdk.Setting
	for _, o := range optionsOf(d.source.text) {
		out = append(out, sdk.Setting{Name: "env." + o.name, Type: sdk.StringSetting, Secret: true, Doc: o.doc})
	}
	return out
}
