package scaffold

import (
	"bytes"
	"embed"
	"fmt"
	"go/format"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/certwright/certwright/sdk"
)

//go:embed go/*.tmpl python/*.tmpl shared/*.tmpl
var templates embed.FS

// file is one of the folder.
type file struct {
	name string
	data []byte
	mode fs.FileMode
}

// values are what the templates know.
type values struct {
	Request
	Authenticator, Installer, Hook bool
	// Several roles: a setting is needed only where its role is used.
	Several bool
	// Role, Summary and Seen are for texts.
	Role, Summary, Seen string
	// Required is the option of a setting's tag.
	Required string

	GoVersion, SDKVersion string

	RoleList, PythonRequired, PythonWrites string
}

func (r Request) values() values {
	v := values{Request: r}
	var roles, summary, seen []string
	for _, kind := range []struct {
		role          string
		has           *bool
		summary, seen string
	}{
		{sdk.RoleAuthenticator, &v.Authenticator, "answers http-01 below a document root", "whether each response is served"},
		{sdk.RoleInstaller, &v.Installer, "puts certificates into a directory", "whether the certificate is in its file"},
		{sdk.RoleHook, &v.Hook, "notes each certificate in a log", "whether each event is answered"},
	} {
		if *kind.has = slices.Contains(r.Roles, kind.role); *kind.has {
			roles, summary, seen = append(roles, kind.role), append(summary, kind.summary), append(seen, kind.seen)
		}
	}
	v.Role, v.Summary, v.Seen = enumerate(roles), enumerate(summary), enumerate(seen)
	if v.Several = len(roles) > 1; !v.Several {
		v.Required = ",required"
	}
	return v
}

// enumerate reads "a, b and c".
func enumerate(items []string) string {
	last := len(items) - 1
	if last < 1 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:last], ", ") + " and " + items[last]
}

// files renders the folder.
func (r Request) files() ([]file, error) {
	if r.Language == "python" {
		return r.pythonFiles()
	}
	return r.goFiles()
}

// render makes one file of a template.
func render(from, to string, v values) (file, error) {
	t, err := template.New(path.Base(from)).ParseFS(templates, from, "shared/*.tmpl")
	if err != nil {
		return file{}, fmt.Errorf("read the template %s: %w", from, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return file{}, fmt.Errorf("fill the template %s: %w", from, err)
	}
	out := file{name: to, data: b.Bytes(), mode: 0o644}
	if strings.HasSuffix(to, ".go") {
		if out.data, err = format.Source(out.data); err != nil {
			return file{}, fmt.Errorf("format %s: %w", to, err)
		}
	}
	return out, nil
}

// renderAll makes the files whose condition holds.
func renderAll(v values, language string, list []part) ([]file, error) {
	var out []file
	for _, p := range list {
		if !p.wanted {
			continue
		}
		f, err := render(language+"/"+p.template, p.name, v)
		if err != nil {
			return nil, err
		}
		if p.executable {
			f.mode = 0o755
		}
		out = append(out, f)
	}
	return out, nil
}

// part is a file of the folder and what it is made of.
type part struct {
	template, name string
	wanted         bool
	executable     bool
}
