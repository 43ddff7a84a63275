package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// record is one of a site's zone.
type record struct {
	ID    int    `xml:"id"`
	Type  string `xml:"data>type"`
	Host  string `xml:"data>host"`
	Value string `xml:"data>value"`
}

// setTXT adds a record; Plesk would add the same one twice.
func (p *plesk) setTXT(ctx context.Context, txt sdk.TXT) ([]byte, error) {
	what := fmt.Sprintf("add a TXT record to %s in zone %s at Plesk", txt.Name, txt.Zone)
	if err := p.zones.enter(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer p.zones.leave()
	zone, err := p.zoneOf(ctx, txt.Zone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	ids, err := p.api.find(ctx, zone.ID, txt)
	if err != nil || len(ids) > 0 {
		return nil, err
	}
	txt.Zone = zone.Name
	id, err := p.api.addRecord(ctx, zone.ID, txt)
	if codeOf(err) == codeExists {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return []byte(strconv.Itoa(id)), nil
}

// deleteTXT removes all records of this name and value. The receipt is not
// needed: it may be lost, and the number may be another record's by now.
func (p *plesk) deleteTXT(ctx context.Context, txt sdk.TXT) error {
	what := fmt.Sprintf("delete a TXT record of %s in zone %s at Plesk", txt.Name, txt.Zone)
	if err := p.zones.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer p.zones.leave()
	zone, err := p.zoneOf(ctx, txt.Zone)
	if missing(err) {
		return nil // the site is gone, and its zone with it
	}
	var ids []int
	if err == nil {
		ids, err = p.api.find(ctx, zone.ID, txt)
	}
	for _, id := range ids {
		if err == nil {
			err = p.api.deleteRecord(ctx, id)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// zoneOf finds the site whose zone it is: the one of that name, or the next one
// above it, of which subdomains share the zone.
func (p *plesk) zoneOf(ctx context.Context, zone string) (*site, error) {
	name := strings.ToLower(strings.TrimSuffix(zone, "."))
	var refused error
	for strings.Contains(name, ".") {
		found, err := p.api.site(ctx, name)
		if !missing(err) {
			return found, err
		}
		if refused == nil {
			refused = err
		}
		_, name, _ = strings.Cut(name, ".")
	}
	if refused == nil {
		return nil, sdk.Problemf(sdk.Internal, "the host asked for the zone %q", zone)
	}
	return nil, sdk.Hint(refused, "see that %s is a site of this Plesk, and that the login may manage its DNS zone", zone)
}

// find gives the records of that name and value in the zone of a site.
func (c *client) find(ctx context.Context, siteID int, txt sdk.TXT) ([]int, error) {
	type operation struct {
		XMLName xml.Name `xml:"packet"`
		SiteID  int      `xml:"dns>get_rec>filter>site-id"`
	}
	var answer struct {
		Results []struct {
			outcome
			record
		} `xml:"dns>get_rec>result"`
	}
	const what = "list the records of the zone"
	if err := c.call(ctx, true, what, operation{SiteID: siteID}, &answer); err != nil {
		return nil, err
	}
	var out []int
	for _, r := range answer.Results {
		switch err := r.err(what); {
		case missing(err): // a zone without records
		case err != nil:
			return nil, err
		case r.Type == "TXT" && strings.EqualFold(strings.TrimSuffix(r.Host, "."), txt.Name) && strings.Trim(r.Value, `"`) == txt.Value:
			out = append(out, r.ID)
		}
	}
	return out, nil
}

func (c *client) addRecord(ctx context.Context, siteID int, txt sdk.TXT) (int, error) {
	type operation struct {
		XMLName xml.Name `xml:"packet"`
		SiteID  int      `xml:"dns>add_rec>site-id"`
		Type    string   `xml:"dns>add_rec>type"`
		Host    string   `xml:"dns>add_rec>host"`
		Value   string   `xml:"dns>add_rec>value"`
	}
	var answer struct {
		Results []struct {
			outcome
			ID int `xml:"id"`
		} `xml:"dns>add_rec>result"`
	}
	host := txt.Relative()
	if host == "@" {
		host = ""
	}
	const what = "add the record"
	err := c.call(ctx, false, what, operation{SiteID: siteID, Type: "TXT", Host: host, Value: txt.Value}, &answer)
	if err != nil {
		return 0, err
	}
	if len(answer.Results) == 0 {
		return 0, outcome{}.err(what)
	}
	return answer.Results[0].ID, answer.Results[0].err(what)
}

// deleteRecord is success too if there is none.
func (c *client) deleteRecord(ctx context.Context, id int) error {
	type operation struct {
		XMLName xml.Name `xml:"packet"`
		ID      int      `xml:"dns>del_rec>filter>id"`
	}
	var answer struct {
		Results []outcome `xml:"dns>del_rec>result"`
	}
	const what = "delete the record"
	if err := c.call(ctx, true, what, operation{ID: id}, &answer); err != nil {
		return err
	}
	if err := first(answer.Results, what); !missing(err) {
		return err
	}
	return nil
}
