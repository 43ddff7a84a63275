package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// instruct asks a person to put each proof in place.
func (m *manual) instruct(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	last := -1 // of the DNS records
	for i, c := range challenges {
		if c.DNS != nil {
			last = i
		}
	}
	var earlier, earlierDNS bool
	for i, c := range challenges {
		text, err := instruction(c)
		if err != nil {
			return err
		}
		if c.DNS != nil && earlierDNS {
			text += "\n" + inAddition + severalValues + "\n"
		} else if earlier {
			text += "\n" + inAddition + "\n"
		}
		if i == last {
			text += "\n" + advice(c.DNS.Name)
		}
		earlier, earlierDNS = true, earlierDNS || c.DNS != nil
		if err := m.ask(ctx, c, text, r); err != nil {
			return err
		}
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

const (
	inAddition = "This comes in addition to the previous ones: leave in place what was set up for them."
	// The record of a wildcard has the name that its base name's has too.
	severalValues = "\nThe same name may be asked for more than once, for instance for a wildcard and its base\nname: give it one TXT record for each value; DNS allows that."
)

// instruction says what to put where. The dot at the end of a record's name
// keeps forms from adding the zone once more.
func instruction(c sdk.Challenge) (string, error) {
	switch {
	case c.DNS != nil:
		text := fmt.Sprintf("To prove control of %s, create a DNS TXT record with the name\n\n    %s.\n\nand the value\n\n    %s\n",
			c.Identifier, c.DNS.Name, c.DNS.Value)
		if len(c.DNS.Value) > 255 {
			text += "\nThe value is longer than 255 bytes: it may have to be split into several strings.\n"
		}
		return text, nil
	case c.HTTP != nil:
		return fmt.Sprintf("To prove control of %s, make your web server answer\n\n    %s\n\nwith a file that holds just this:\n\n    %s\n",
			c.Identifier, address(c), c.HTTP.Body), nil
	}
	err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "%s for %s cannot be put in place by hand", c.Type, c.Identifier))
	return "", sdk.Hint(err, "give an auth_hook, or ask for dns-01 or http-01 with --preferred-challenges")
}

func address(c sdk.Challenge) string {
	host := c.Identifier.Value
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		host = "[" + host + "]"
	}
	return "http://" + host + c.HTTP.Path
}

// advice comes with the last record, when all of them can be looked at.
func advice(name string) string {
	return fmt.Sprintf(`Before you go on, see that the records are there: it may take from seconds to
minutes until all name servers show them. For instance

    dig +short TXT %s.

or https://toolbox.googleapps.com/apps/dig/#TXT/%s should show
the values that you have just added.
`, name, name)
}

func (m *manual) ask(ctx context.Context, c sdk.Challenge, text string, r sdk.Reporter) error {
	line := strings.Repeat("- ", 40) + "\n"
	_, err := r.Ask(ctx, "\n"+line+text+line+"Press Enter to continue: ")
	switch {
	case errors.Is(err, sdk.ErrNotInteractive):
		return m.nobody()
	case errors.Is(err, io.EOF):
		p := sdk.Problemf(sdk.Cancelled, "wait until %s for %s is in place: the input ended", c.Type, c.Identifier)
		return sdk.Hint(p, "run certwright in a terminal, or give an auth_hook")
	}
	return err
}

// leftover tells a person what is needed no more.
func leftover(c sdk.Challenge) string {
	switch {
	case c.DNS != nil:
		return fmt.Sprintf("the TXT record %s. with the value %s can be deleted now", c.DNS.Name, c.DNS.Value)
	case c.HTTP != nil:
		return fmt.Sprintf("the file behind %s can be deleted now", address(c))
	}
	return ""
}
