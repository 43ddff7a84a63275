package main

import (
	"context"
	"encoding/xml"
)

// pool gives the names of the certificates in the repository of a site.
func (c *client) pool(ctx context.Context, site string) ([]string, error) {
	type operation struct {
		XMLName xml.Name `xml:"packet"`
		Domain  string   `xml:"certificate>get-pool>filter>domain-name"`
	}
	var answer struct {
		Results []struct {
			outcome
			Names []string `xml:"certificates>certificate>name"`
		} `xml:"certificate>get-pool>result"`
	}
	const what = "list the certificates"
	if err := c.call(ctx, true, what, operation{Domain: site}, &answer); err != nil {
		return nil, err
	}
	var out []string
	for _, r := range answer.Results {
		if err := r.err(what); err != nil {
			return nil, err
		}
		out = append(out, r.Names...)
	}
	return out, nil
}

// content is in the order of the schema, https://github.com/plesk/api-schemas
// (1.6.9.1/agent_input.svg, certificateType): csr is a string that has to be
// there, and nobody says that it has to hold anything. The request is not needed
// again, and Plesk's own plugin for certbot sends it empty too
// (letsencrypt-plesk, deployer.py and request_certificate_update.xml).
type content struct {
	CSR  string `xml:"csr"`
	Key  string `xml:"pvt"`
	Leaf string `xml:"cert"`
	CA   string `xml:"ca"`
}

// certificate names its repository by a site. The pages "Installing
// Certificates" (34877) and "Deleting Certificates" (34882) know webspace and
// admin alone; but the schema has a choice of webspace, site and admin for
// install, update and remove, and Plesk's own plugin sends site. So we do: a
// login that may manage an add-on domain or a subdomain need not know the name
// of the subscription that it belongs to.
type certificate struct {
	Name    string  `xml:"name"`
	Site    string  `xml:"site"`
	Content content `xml:"content"`
}

// write installs or updates a certificate.
func (c *client) write(ctx context.Context, operation, site string, w wanted) error {
	type packet struct {
		XMLName xml.Name     `xml:"packet"`
		Install *certificate `xml:"certificate>install"`
		Update  *certificate `xml:"certificate>update"`
	}
	var answer struct {
		Install []outcome `xml:"certificate>install>result"`
		Update  []outcome `xml:"certificate>update>result"`
	}
	body := &certificate{Name: w.Certificate, Site: site, Content: content{Key: w.Key, Leaf: w.Leaf, CA: w.Chain}}
	request := packet{Install: body}
	if operation == "update" {
		request = packet{Update: body}
	}
	what := operation + " the certificate"
	if err := c.call(ctx, operation == "update", what, request, &answer); err != nil {
		return err
	}
	return first(append(answer.Install, answer.Update...), what)
}

// remove is success too if there is no such certificate.
func (c *client) remove(ctx context.Context, site, name string) error {
	type operation struct {
		XMLName xml.Name `xml:"packet"`
		Name    string   `xml:"certificate>remove>filter>name"`
		Site    string   `xml:"certificate>remove>site"`
	}
	var answer struct {
		Results []outcome `xml:"certificate>remove>result"`
	}
	const what = "remove the certificate"
	if err := c.call(ctx, true, what, operation{Name: name, Site: site}, &answer); err != nil {
		return err
	}
	if err := first(answer.Results, what); !missing(err) {
		return err
	}
	return nil
}
