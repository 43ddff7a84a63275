package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/httpapi"
)

// client speaks Plesk's XML API,
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api.28709/. The schema
// fixes the order of elements, so that of the fields below.
type client struct{ api *httpapi.Client }

// agent is where packets go.
const agent = "/enterprise/control/agent.php"

// Codes of errors that Plesk gives:
// https://docs.plesk.com/en-US/obsidian/api-rpc/error-codes.33765/.
const (
	codeLogin      = 1001 // authentication failed
	codePermission = 1006 // permission denied
	codeExists     = 1007 // the object exists already
	codeNotFound   = 1013 // the object does not exist
	codeParser     = 1014 // the packet is not what the schema says
	codeNoOwner    = 1015 // the site or its owner does not exist
	codeInUse      = 8002 // what is to be removed is in use
	codeSecretKey  = 11003
)

func newClient(s settings, wait time.Duration) (*client, error) {
	api, err := httpapi.New(httpapi.Options{
		Endpoint: s.Server, CAFile: s.CAFile, Fingerprint: s.Fingerprint, Wait: wait,
		Sign: func(r *http.Request) error {
			// The names as they are documented; Go would write Key.
			if s.SecretKey != "" {
				r.Header["KEY"] = []string{strings.TrimSpace(string(s.SecretKey))}
				return nil
			}
			r.Header["HTTP_AUTH_LOGIN"] = []string{s.Login}
			r.Header["HTTP_AUTH_PASSWD"] = []string{strings.TrimSpace(string(s.Password))}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return &client{api: api}, nil
}

// outcome is the part that every result has.
type outcome struct {
	Status string `xml:"status"`
	Code   int    `xml:"errcode"`
	Text   string `xml:"errtext"`
}

// failure is a result of status error.
type failure struct{ outcome }

func (f failure) Error() string {
	return fmt.Sprintf("Plesk answers with error %d: %s", f.Code, strings.Join(strings.Fields(f.Text), " "))
}

func codeOf(err error) int {
	var f failure
	if errors.As(err, &f) {
		return f.Code
	}
	return 0
}

// err gives nil for a result that is ok.
func (o outcome) err(what string) error {
	if o.Status == "ok" {
		return nil
	}
	if o.Status != "error" {
		p := sdk.Problemf(sdk.Internal, "%s: Plesk's answer has no result", what)
		return sdk.Hint(p, "check that server is the address of Plesk")
	}
	p := sdk.Problemf(sdk.Internal, "%s: %w", what, failure{o})
	p.Retry = sdk.RetryNever
	switch o.Code {
	case codeLogin, codeSecretKey:
		p.Code, p.Hint = sdk.Credentials, "check secret_key, or login and password; a secret key is good from the address that it was made for only"
	case codePermission:
		p.Code, p.Hint = sdk.PermissionDenied, "use the secret key of an administrator, or allow the login to do this in its service plan"
	case codeNotFound, codeNoOwner:
		p.Code, p.Hint = sdk.NotFound, "see whether the login may manage it, and whether somebody has removed it in Plesk"
	case codeExists:
		p.Code, p.Hint = sdk.Conflict, "see who else makes the same in Plesk; the next run tries it again"
	case codeParser:
		p.Code, p.Hint = sdk.Unsupported, "see whether this version of Plesk is older than 12.5"
	default:
		p.Retry, p.Hint = sdk.RetryUnspecified, "see what the log of Plesk, panel.log on its server, says of it"
	}
	return p
}

// call sends a packet and reads the answer into out. repeatable packets are sent
// again after a failure of the network.
func (c *client) call(ctx context.Context, repeatable bool, what string, packet, out any) error {
	body, err := xml.Marshal(packet)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	answer, err := c.api.Do(ctx, httpapi.Request{
		Method: http.MethodPost, Path: agent, Body: append([]byte(xml.Header), body...), Repeatable: repeatable,
		Header: http.Header{"Content-Type": {"text/xml"}},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var whole struct {
		XMLName xml.Name `xml:"packet"`
		System  *outcome `xml:"system"`
	}
	if err = xml.Unmarshal(answer.Body, &whole); err == nil && whole.System != nil {
		return whole.System.err(what)
	}
	if err == nil {
		err = xml.Unmarshal(answer.Body, out)
	}
	if err != nil {
		p := sdk.Problemf(sdk.Internal, "%s: the answer is not the packet that is documented: %w", what, err)
		return sdk.Hint(p, "check that server is the address of Plesk")
	}
	return nil
}

type empty struct{}

// first of the results of an operation on one object.
func first(results []outcome, what string) error {
	if len(results) == 0 {
		return outcome{}.err(what)
	}
	return results[0].err(what)
}

// updateFrom is the protocol from which on certificates can be updated in place.
var updateFrom = []int{1, 6, 8, 0}

// canUpdate says whether Plesk's protocol has certificate/update.
func (c *client) canUpdate(ctx context.Context) (bool, error) {
	type operation struct {
		XMLName   xml.Name `xml:"packet"`
		GetProtos empty    `xml:"server>get_protos"`
	}
	var answer struct {
		Results []struct {
			outcome
			Protos []string `xml:"protos>proto"`
		} `xml:"server>get_protos>result"`
	}
	const what = "ask Plesk which protocols it speaks"
	if err := c.call(ctx, true, what, operation{}, &answer); err != nil {
		return false, err
	}
	if len(answer.Results) == 0 {
		return false, outcome{}.err(what)
	}
	if err := answer.Results[0].err(what); err != nil {
		return false, err
	}
	return slices.ContainsFunc(answer.Results[0].Protos, func(proto string) bool {
		var numbers []int
		for part := range strings.SplitSeq(proto, ".") {
			n, err := strconv.Atoi(part)
			if err != nil {
				return false
			}
			numbers = append(numbers, n)
		}
		return slices.Compare(numbers, updateFrom) >= 0
	}), nil
}
