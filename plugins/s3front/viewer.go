package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// viewer is the element ViewerCertificate of a distribution's configuration: the
// bytes between its tags, in the document's own spelling.
type viewer string

// Elements of a viewer certificate.
const (
	viewerElement = "ViewerCertificate"
	byDefault     = "CloudFrontDefaultCertificate"
	byACM         = "ACMCertificateArn"
	byIAM         = "IAMCertificateId"
	sslSupport    = "SSLSupportMethod"
	minimum       = "MinimumProtocolVersion"
)

// sources are the elements that say which certificate it is; the last two are
// what older versions of the API had.
var sources = []string{byDefault, byACM, byIAM, "Certificate", "CertificateSource"}

// child is an element of a viewer certificate.
type child struct {
	name, text string
	// raw is the whole element.
	raw string
}

// children takes a viewer certificate apart.
func (v viewer) children() ([]child, error) {
	var out []child
	decoder := xml.NewDecoder(strings.NewReader(string(v)))
	depth, begin, text := 0, int64(0), strings.Builder{}
	for {
		offset := decoder.InputOffset()
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) && depth == 0 {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the viewer certificate: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth == 1 {
				begin = offset
				text.Reset()
			}
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			if depth--; depth == 0 {
				out = append(out, child{name: t.Name.Local, text: strings.TrimSpace(text.String()), raw: string(v)[begin:decoder.InputOffset()]})
			}
		}
	}
}

// value gives the text of a child, empty if it is not there.
func (v viewer) value(name string) string {
	all, err := v.children()
	if err != nil {
		return ""
	}
	for _, c := range all {
		if c.name == name {
			return c.text
		}
	}
	return ""
}

// uses says whether the certificate is this one.
func (v viewer) uses(id source) bool { return v.value(id.element) == id.value }

// source is a certificate as a distribution names it.
type source struct{ element, value string }

// with gives the viewer certificate with another certificate. What else is in
// it stays, but that CloudFront wants to know how TLS is spoken, which it decided
// itself for its own certificate.
func (v viewer) with(id source, policy string) (viewer, error) {
	all, err := v.children()
	if err != nil {
		return "", err
	}
	// Beside its own certificate CloudFront shows TLSv1, and an address of one's own
	// ("vip"), which would be paid for.
	fresh := v.value(byDefault) == "true" || v.value(sslSupport) == ""
	var out strings.Builder
	element(&out, id.element, id.value)
	if fresh {
		element(&out, sslSupport, "sni-only")
		element(&out, minimum, policy)
	}
	for _, c := range all {
		if slices.Contains(sources, c.name) || fresh && (c.name == minimum || c.name == sslSupport) {
			continue
		}
		out.WriteString(c.raw)
	}
	return viewer(out.String()), nil
}

func element(out *strings.Builder, name, text string) {
	out.WriteString("<" + name + ">")
	_ = xml.EscapeText(out, []byte(text)) // a Builder takes everything
	out.WriteString("</" + name + ">")
}

// ownOfCloudFront is what a distribution is without a certificate.
const ownOfCloudFront = viewer("<" + byDefault + ">true</" + byDefault + ">")

// same compares what two viewer certificates say.
func (v viewer) same(other viewer) bool {
	a, errA := v.children()
	b, errB := other.children()
	if errA != nil || errB != nil {
		return v == other
	}
	strip := func(list []child) []string {
		var out []string
		for _, c := range list {
			if !slices.Contains([]string{"Certificate", "CertificateSource"}, c.name) { // an echo of the others
				out = append(out, c.name+"="+c.text)
			}
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(strip(a), strip(b))
}

// place is where the element is in a document.
type place struct {
	// begin and end of the element; inside of it, if it is not <…/>.
	begin, end           int64
	innerBegin, innerEnd int64
	// last is where the root element ends.
	last int64
}

// find looks for the element among the children of DistributionConfig.
func find(document []byte) (place, error) {
	p := place{begin: -1}
	decoder := xml.NewDecoder(bytes.NewReader(document))
	for depth := 0; ; {
		offset := decoder.InputOffset()
		token, err := decoder.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return p, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			if depth == 1 && t.Name.Local != "DistributionConfig" {
				return p, fmt.Errorf("it is a document of the kind %q", t.Name.Local)
			}
			if depth == 2 && t.Name.Local == viewerElement {
				p.begin, p.innerBegin = offset, decoder.InputOffset()
			}
		case xml.EndElement:
			if depth == 2 && t.Name.Local == viewerElement {
				p.innerEnd, p.end = offset, decoder.InputOffset()
			}
			if depth == 1 {
				p.last = offset
			}
			depth--
		}
	}
	if p.last == 0 {
		return p, errors.New("it ends in the middle")
	}
	return p, nil
}

// viewerOf gives what is in a document; nothing is CloudFront's own certificate.
func viewerOf(document []byte) (viewer, error) {
	p, err := find(document)
	if err != nil || p.begin < 0 {
		return "", err
	}
	return viewer(document[p.innerBegin:max(p.innerBegin, p.innerEnd)]), nil
}

// withViewer gives the document with another viewer certificate. All other bytes
// stay.
func withViewer(document []byte, v viewer) ([]byte, error) {
	p, err := find(document)
	if err != nil {
		return nil, err
	}
	if p.begin < 0 {
		p.begin, p.end = p.last, p.last
	}
	element := []byte("<" + viewerElement + ">" + string(v) + "</" + viewerElement + ">")
	return slices.Concat(document[:p.begin], element, document[p.end:]), nil
}
