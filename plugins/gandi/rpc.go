package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kolo/xmlrpc"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/httpapi"
)

// rpc is Gandi's older API, https://doc.rpc.gandi.net/: it alone takes
// certificates of others.
type rpc struct {
	api *httpapi.Client
	key string
}

// instance is what paas.info says of a Simple Hosting instance.
type instance struct {
	ID        int     `xmlrpc:"id"`
	Name      string  `xmlrpc:"name"`
	Type      string  `xmlrpc:"type"`
	User      int     `xmlrpc:"user"`
	FTPServer string  `xmlrpc:"ftp_server"`
	VHosts    []vhost `xmlrpc:"vhosts"`
}

type vhost struct {
	Name string `xmlrpc:"name"`
}

// hostedCert is what cert.hosted.info says; the list says less.
type hostedCert struct {
	ID      int    `xmlrpc:"id"`
	Subject string `xmlrpc:"subject"`
	State   string `xmlrpc:"state"`
	FQDNs   []fqdn `xmlrpc:"fqdns"`
	// Expires is in a time zone that is not told.
	Expires time.Time `xmlrpc:"date_expire"`
}

type fqdn struct {
	Name string `xmlrpc:"name"`
}

// created is the state of a hosted certificate that is in use.
const created = "created"

func newRPC(s settings, wait time.Duration) (*rpc, error) {
	api, err := httpapi.New(httpapi.Options{Endpoint: s.RPCEndpoint, CAFile: s.CAFile, Wait: wait})
	return &rpc{api: api, key: string(s.APIKey)}, err
}

// call gives the result of a method in out. repeatable methods are sent again
// after a failure of the network.
func (c *rpc) call(ctx context.Context, repeatable bool, out any, method string, args ...any) error {
	if c.key == "" {
		p := sdk.Problemf(sdk.InvalidConfig, "call %s: there is no API key", method)
		return sdk.Subject(sdk.Hint(sdk.Permanent(p), "set api_key to the API key of the account"), "api_key")
	}
	body, err := xmlrpc.EncodeMethodCall(method, append([]any{c.key}, args...)...)
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	answer, err := c.api.Do(ctx, httpapi.Request{
		Method: http.MethodPost, Body: body, Repeatable: repeatable, Header: http.Header{"Content-Type": {"text/xml"}},
	})
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	said := xmlrpc.Response(empty.ReplaceAll(answer.Body, []byte("<value><string></string></value>")))
	err = said.Err()
	if fault := (xmlrpc.FaultError{}); errors.As(err, &fault) {
		return problemOf(method, fault)
	}
	if err == nil {
		err = said.Unmarshal(out)
	}
	if err != nil {
		p := sdk.Problemf(sdk.Internal, "call %s: the answer is not the XML-RPC that is documented: %w", method, err)
		return sdk.Hint(p, "check that rpc_endpoint is the address of the XML-RPC API")
	}
	return nil
}

// empty is a value without a type, which is a string. The decoder would lose the
// members that come after it.
var empty = regexp.MustCompile(`<value>\s*</value>|<value\s*/>`)

// problemOf reads a fault. Its text names object and cause: "Error on object :
// OBJECT_APIKEY (CAUSE_NORIGHT) [...]".
func problemOf(method string, fault xmlrpc.FaultError) error {
	p := sdk.Problemf(sdk.Internal, "call %s: %w", method, fault)
	p.Hint = "see what the fault names; Gandi's support knows its number"
	p.Summary, p.Detail = "call "+method, fmt.Sprintf("Gandi answers with fault %d: %s", fault.Code, fault.String)
	has := func(text string) bool { return strings.Contains(fault.String, text) }
	switch {
	case has("OBJECT_APIKEY"), has("OBJECT_ACCOUNT") && has("CAUSE_NORIGHT"):
		p.Code, p.Retry = sdk.Credentials, sdk.RetryNever
		p.Hint = "check api_key: Gandi shows it in the account's security settings; a personal access token is not taken here"
	case has("CAUSE_NORIGHT"):
		p.Code, p.Retry = sdk.PermissionDenied, sdk.RetryNever
		p.Hint = "use the API key of an account that may manage the instance"
	case has("CAUSE_NOTFOUND"):
		p.Code, p.Retry = sdk.NotFound, sdk.RetryNever
		p.Hint = "see whether somebody has deleted it at Gandi, and whether the API key is of its account"
	case has("CAUSE_BADPARAMETER"), has("CAUSE_INVALID"):
		p.Code, p.Retry = sdk.InvalidConfig, sdk.RetryNever
		p.Hint = "correct what the fault names"
	case fault.Code/100000 == 1: // qualification 1: the server's own failure
		p.Code, p.Retry = sdk.Unavailable, sdk.RetryLater
		p.Hint = "leave it to the next run, and see whether Gandi is well"
	}
	return p
}

// notFound says that there is no such hosted certificate. An HTTP status never
// does.
func notFound(err error) bool {
	fault := xmlrpc.FaultError{}
	return errors.As(err, &fault) && strings.Contains(fault.String, "OBJECT_HOSTEDCERT") && strings.Contains(fault.String, "CAUSE_NOTFOUND")
}

// refused says that Gandi has done nothing.
func refused(err error) bool {
	fault := xmlrpc.FaultError{}
	return errors.As(err, &fault) && sdk.ProblemOf(err).Retry == sdk.RetryNever
}

// instance looks the Simple Hosting instance up, once.
func (g *gandi) instance(ctx context.Context) (*instance, error) {
	g.mu.Lock()
	found := g.found
	g.mu.Unlock()
	if found != nil {
		return found, nil
	}
	name := g.settings.Instance
	var list []instance
	if err := g.rpc.call(ctx, true, &list, "paas.list", map[string]string{"name": name}); err != nil {
		return nil, fmt.Errorf("find the Simple Hosting instance %s: %w", name, err)
	}
	at := slices.IndexFunc(list, func(i instance) bool { return i.Name == name })
	if at < 0 {
		p := sdk.Problemf(sdk.NotFound, "the account has no Simple Hosting instance %s", name)
		return nil, sdk.Subject(sdk.Hint(sdk.Permanent(p), "write the instance's name, as Gandi's list shows it, into the setting instance"), "instance")
	}
	found = &instance{}
	if err := g.rpc.call(ctx, true, found, "paas.info", list[at].ID); err != nil {
		return nil, fmt.Errorf("look at the Simple Hosting instance %s: %w", name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.found = found
	return found, nil
}

// hostedFor lists the hosted certificates that are for exactly these names.
func (c *rpc) hostedFor(ctx context.Context, names []string) ([]hostedCert, error) {
	var list, out []hostedCert
	if err := c.call(ctx, true, &list, "cert.hosted.list", map[string]any{"fqdns": names[0]}); err != nil {
		return nil, err
	}
	for _, l := range list {
		info, err := c.hosted(ctx, l.ID)
		switch {
		case notFound(err):
		case err != nil:
			return nil, err
		case info.isFor(names):
			out = append(out, *info)
		}
	}
	return out, nil
}

func (c *rpc) hosted(ctx context.Context, id int) (*hostedCert, error) {
	out := &hostedCert{}
	return out, c.call(ctx, true, out, "cert.hosted.info", id)
}

func (c *rpc) create(ctx context.Context, fullchain, key string) (*hostedCert, error) {
	out := &hostedCert{}
	return out, c.call(ctx, false, out, "cert.hosted.create", map[string]string{"crt": fullchain, "key": key})
}

// delete is success too if there is none.
func (c *rpc) delete(ctx context.Context, id int) error {
	var ignored any
	err := c.call(ctx, true, &ignored, "cert.hosted.delete", id)
	if notFound(err) {
		return nil
	}
	return err
}

func (h hostedCert) isFor(names []string) bool {
	have, want := map[string]bool{}, map[string]bool{}
	for _, f := range h.FQDNs {
		have[strings.ToLower(f.Name)] = true
	}
	for _, n := range names {
		want[strings.ToLower(n)] = true
		if !have[strings.ToLower(n)] {
			return false
		}
	}
	return len(have) == len(want)
}

// endsAt compares with the end of a validity, as far as Gandi tells it.
func (h hostedCert) endsAt(end time.Time) bool {
	return h.Expires.IsZero() || h.Expires.Sub(end).Abs() < 24*time.Hour
}
