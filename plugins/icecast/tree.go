package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/certwright/certwright/sdk"
)

// element is one of the document, with where its parts are in the bytes:
// <name …>inner</name>.
type element struct {
	name string
	// start and end are of the whole; open and close of what is inside. An
	// element "<name/>" has no inside: open, close and end are the same.
	start, open, close, end int
	// text is what stands in it, entities resolved, without that of children.
	text     string
	children []*element
}

func (e *element) empty() bool { return e.close == e.end }

// all gives the children of a name.
func (e *element) all(name string) []*element {
	var out []*element
	for _, c := range e.children {
		if c.name == name {
			out = append(out, c)
		}
	}
	return out
}

// last gives the last child of a name, which is the one that Icecast heeds.
func (e *element) last(name string) *element {
	all := e.all(name)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// value is the text of the last child of a name; empty if there is none.
func (e *element) value(name string) string {
	if c := e.last(name); c != nil {
		return c.text
	}
	return ""
}

// entityPattern finds what a document declares for itself.
var entityPattern = regexp.MustCompile(`<!ENTITY\s+([A-Za-z_:][\w:.-]*)\s+(?:"([^"<&%]*)"|'([^'<&%]*)'|[^>"']*(?:"[^"]*"|'[^']*'))`)

// maxDepth bounds recursion over a document that somebody else may have written.
const maxDepth = 100

// parse reads a document, and gives its root.
func parse(data []byte) (*element, error) {
	text := asciiOnly(data)
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Entity = map[string]string{}
	for _, m := range entityPattern.FindAllSubmatch(text, -1) {
		d.Entity[string(m[1])] = string(m[2]) + string(m[3])
	}
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if l := strings.ToLower(label); strings.HasPrefix(l, "utf-16") || strings.HasPrefix(l, "ucs") || strings.HasPrefix(l, "utf-32") || strings.Contains(l, "ebcdic") {
			return nil, fmt.Errorf("its encoding %s is not one that this plugin can edit", label)
		}
		return in, nil // where it matters, a byte is a byte
	}
	var root *element
	var open []*element
	for {
		start := int(d.InputOffset())
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, explainSyntax(err)
		}
		end := int(d.InputOffset())
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: t.Name.Local, start: start, open: end, close: end, end: end}
			switch {
			case len(open) > maxDepth:
				return nil, sdk.Problemf(sdk.InvalidConfig, "its elements are more than %d deep", maxDepth)
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.children = append(parent.children, e)
			case root == nil:
				root = e
			default:
				return nil, sdk.Problemf(sdk.InvalidConfig, "it has two roots")
			}
			open = append(open, e)
		case xml.EndElement:
			e := open[len(open)-1]
			open = open[:len(open)-1]
			// That of "<name/>" is not in the bytes.
			e.close, e.end = start, end
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(t)
			}
		}
	}
	if root == nil {
		return nil, sdk.Problemf(sdk.InvalidConfig, "it is empty")
	}
	return root, nil
}

// asciiOnly gives what the decoder reads: every byte where it was. Of a document
// that is not UTF-8, what is beyond ASCII is no markup and does not matter.
func asciiOnly(data []byte) []byte {
	if utf8.Valid(data) && !declaresOther(data) {
		return data
	}
	out := bytes.Clone(data)
	for i, c := range out {
		if c >= utf8.RuneSelf {
			out[i] = '?'
		}
	}
	return out
}

var encodingPattern = regexp.MustCompile(`^(?:\xef\xbb\xbf)?<\?xml[^>]*encoding\s*=\s*["']([^"']+)["']`)

func declaresOther(data []byte) bool {
	m := encodingPattern.FindSubmatch(data)
	return m != nil && !strings.EqualFold(string(m[1]), "utf-8")
}

func explainSyntax(err error) error {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		p := sdk.Problemf(sdk.InvalidConfig, "line %d: %s", syntax.Line, syntax.Msg)
		return p
	}
	return sdk.WithCode(err, sdk.InvalidConfig)
}
