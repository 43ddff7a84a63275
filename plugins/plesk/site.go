package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// site is what Plesk says of one.
type site struct {
	ID   int
	Name string
	// properties of its hosting; nil: it has none.
	properties map[string]string
}

type property struct {
	Name  string `xml:"name"`
	Value string `xml:"value"`
}

type siteFilter struct {
	Name string `xml:"name,omitempty"`
}

type dataset struct {
	GenInfo *empty `xml:"gen_info"`
	Hosting *empty `xml:"hosting"`
}

type siteResult struct {
	outcome
	ID         int        `xml:"id"`
	Name       string     `xml:"data>gen_info>name"`
	ASCIIName  string     `xml:"data>gen_info>ascii-name"`
	Properties []property `xml:"data>hosting>vrt_hst>property"`
}

func (r siteResult) name() string {
	if r.ASCIIName != "" {
		return strings.ToLower(r.ASCIIName)
	}
	return strings.ToLower(r.Name)
}

// site looks one up by its name.
func (c *client) site(ctx context.Context, name string) (*site, error) {
	type operation struct {
		XMLName xml.Name   `xml:"packet"`
		Filter  siteFilter `xml:"site>get>filter"`
		Dataset dataset    `xml:"site>get>dataset"`
	}
	var answer struct {
		Results []siteResult `xml:"site>get>result"`
	}
	what := "look at the site " + name
	packet := operation{Filter: siteFilter{name}, Dataset: dataset{GenInfo: &empty{}, Hosting: &empty{}}}
	if err := c.call(ctx, true, what, packet, &answer); err != nil {
		return nil, err
	}
	if len(answer.Results) == 0 {
		return nil, outcome{Status: "error", Code: codeNotFound, Text: "no site was found"}.err(what)
	}
	r := answer.Results[0]
	if err := r.err(what); err != nil {
		return nil, err
	}
	out := &site{ID: r.ID, Name: name}
	for _, p := range r.Properties {
		if out.properties == nil {
			out.properties = map[string]string{}
		}
		out.properties[p.Name] = p.Value
	}
	return out, nil
}

// siteOf finds the site that answers for a name of a certificate: the one of
// that name, else that of the name without www, which is the same site.
func (c *client) siteOf(ctx context.Context, name string) (*site, error) {
	name = strings.ToLower(strings.TrimPrefix(name, "*."))
	found, err := c.site(ctx, name)
	if bare, www := strings.CutPrefix(name, "www."); www && missing(err) {
		found, err = c.site(ctx, bare)
	}
	if missing(err) {
		return nil, sdk.Hint(err, "add %s as a domain, an add-on domain or a subdomain in Plesk, or leave it out", name)
	}
	return found, err
}

func missing(err error) bool {
	return slices.Contains([]int{codeNotFound, codeNoOwner}, codeOf(err))
}

// assign sets properties of a site's hosting.
func (c *client) assign(ctx context.Context, name string, properties ...property) error {
	type operation struct {
		XMLName    xml.Name   `xml:"packet"`
		Filter     siteFilter `xml:"site>set>filter"`
		Properties []property `xml:"site>set>values>hosting>vrt_hst>property"`
	}
	var answer struct {
		Results []outcome `xml:"site>set>result"`
	}
	what := "set the certificate of the site " + name
	if err := c.call(ctx, true, what, operation{Filter: siteFilter{name}, Properties: properties}, &answer); err != nil {
		return err
	}
	return first(answer.Results, what)
}

// Names are those of all subscriptions and sites.
func (p *plesk) Names(ctx context.Context) ([]sdk.Site, error) {
	type webspaces struct {
		XMLName xml.Name   `xml:"packet"`
		Filter  siteFilter `xml:"webspace>get>filter"`
		Dataset dataset    `xml:"webspace>get>dataset"`
	}
	type sites struct {
		XMLName xml.Name   `xml:"packet"`
		Filter  siteFilter `xml:"site>get>filter"`
		Dataset dataset    `xml:"site>get>dataset"`
	}
	var out []sdk.Site
	for _, packet := range []any{
		webspaces{Dataset: dataset{GenInfo: &empty{}, Hosting: &empty{}}}, sites{Dataset: dataset{GenInfo: &empty{}, Hosting: &empty{}}},
	} {
		var answer struct {
			Webspaces []siteResult `xml:"webspace>get>result"`
			Sites     []siteResult `xml:"site>get>result"`
		}
		const what = "list the sites"
		if err := p.api.call(ctx, true, what, packet, &answer); err != nil {
			return nil, err
		}
		for _, r := range append(answer.Webspaces, answer.Sites...) {
			err := r.err(what)
			switch {
			case missing(err) || err == nil && r.name() == "": // an empty list is one result without data
			case err != nil:
				return nil, err
			default:
				tls := slices.Contains(r.Properties, property{"ssl", "true"})
				out = add(out, r.name(), tls)
			}
		}
	}
	return out, nil
}

// add keeps one entry for each name.
func add(sites []sdk.Site, name string, tls bool) []sdk.Site {
	at := slices.IndexFunc(sites, func(s sdk.Site) bool { return s.ID == name })
	if at < 0 {
		return append(sites, sdk.Site{ID: name, Names: []string{name}, File: fmt.Sprintf("Plesk's site %s", name), TLS: tls})
	}
	sites[at].TLS = sites[at].TLS || tls
	return sites
}
