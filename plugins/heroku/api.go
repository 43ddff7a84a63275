package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/httpapi"
)

// api is what is needed of the Platform API
// (https://devcenter.heroku.com/articles/platform-api-reference).
type api struct{ client *httpapi.Client }

// mediaType is version 3 of the API.
const mediaType = "application/vnd.heroku+json; version=3"

// newAPI takes how long one attempt of a request may last, zero for httpapi's own
// limit, and the first pause between two.
func newAPI(s settings, attempt, wait time.Duration) (*api, error) {
	client, err := httpapi.New(httpapi.Options{
		Endpoint: s.Endpoint, CAFile: s.CAFile, Attempt: attempt, Wait: wait,
		Sign: func(r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+string(s.Token))
			return nil
		},
		Explain: func(r *httpapi.Response) string {
			var body struct{ ID, Message string }
			if json.Unmarshal(r.Body, &body) != nil || body.Message == "" {
				return ""
			}
			return body.Message + " (" + body.ID + ")"
		},
	})
	return &api{client: client}, err
}

// reference names another object in one.
type reference struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type domain struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	// CName is where DNS has to lead.
	CName string `json:"cname"`
	// Kind is "custom", or "heroku" for the one that the app has of itself.
	Kind        string     `json:"kind"`
	SNIEndpoint *reference `json:"sni_endpoint"`
}

type dyno struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	State   string `json:"state"`
	Release struct {
		Version int `json:"version"`
	} `json:"release"`
}

type sniEndpoint struct {
	ID               string `json:"id"`
	Name             string `json:"name"`
	CertificateChain string `json:"certificate_chain"`
}

func (a *api) do(ctx context.Context, method, path string, in, out any) error {
	r, err := request(method, path, in)
	if err != nil {
		return err
	}
	return a.client.DoJSON(ctx, r, out)
}

func request(method, path string, in any) (httpapi.Request, error) {
	// To set what is set already does nothing; what makes something is POST.
	r := httpapi.Request{Method: method, Path: path, Header: http.Header{"Accept": {mediaType}}, Repeatable: method == http.MethodPatch}
	if in == nil {
		return r, nil
	}
	body, err := json.Marshal(in)
	if err != nil {
		return r, sdk.Problemf(sdk.Internal, "%s %s: write the body: %w", method, path, err)
	}
	r.Body = body
	r.Header.Set("Content-Type", "application/json")
	return r, nil
}

func of(app, rest string) string { return "/apps/" + url.PathEscape(app) + rest }

// mostPages bounds a list; a page has 200 entries, if the API decides.
const mostPages = 100

// list reads all pages of a list. The API says by 206 that there are more, and by
// Next-Range which.
func list[T any](ctx context.Context, a *api, path string) ([]T, error) {
	var all []T
	next := ""
	for range mostPages {
		r, err := request(http.MethodGet, path, nil)
		if err != nil {
			return nil, err
		}
		if next != "" {
			r.Header.Set("Range", next)
		}
		answer, err := a.client.Do(ctx, r)
		if err != nil {
			return nil, err
		}
		var page []T
		if err := json.Unmarshal(answer.Body, &page); err != nil {
			return nil, sdk.Hint(sdk.Problemf(sdk.Internal, "GET %s: the answer is not the JSON that is documented: %w", path, err),
				"check that endpoint is the address of the Platform API")
		}
		all = append(all, page...)
		next = answer.Header.Get("Next-Range")
		if answer.Status != http.StatusPartialContent || next == "" {
			return all, nil
		}
	}
	return nil, sdk.Problemf(sdk.Internal, "GET %s: the list has no end after %d pages", path, mostPages)
}

func (a *api) domains(ctx context.Context, app string) ([]domain, error) {
	return list[domain](ctx, a, of(app, "/domains"))
}

func (a *api) dynos(ctx context.Context, app string) ([]dyno, error) {
	return list[dyno](ctx, a, of(app, "/dynos"))
}

// webDynos is how many there are to be.
func (a *api) webDynos(ctx context.Context, app string) (int, error) {
	var out struct{ Quantity int }
	err := a.do(ctx, http.MethodGet, of(app, "/formation/web"), nil, &out)
	if notFound(err) { // the app has no such process
		return 0, nil
	}
	return out.Quantity, err
}

func (a *api) sniEndpoints(ctx context.Context, app string) ([]sniEndpoint, error) {
	return list[sniEndpoint](ctx, a, of(app, "/sni-endpoints"))
}

func (a *api) addDomain(ctx context.Context, app, name string) (domain, error) {
	var out domain
	err := a.do(ctx, http.MethodPost, of(app, "/domains"), map[string]any{"hostname": name, "sni_endpoint": nil}, &out)
	return out, err
}

// attach has a domain served by an SNI endpoint; empty: by none.
func (a *api) attach(ctx context.Context, app, id, endpoint string) error {
	var to any
	if endpoint != "" {
		to = endpoint
	}
	return a.do(ctx, http.MethodPatch, of(app, "/domains/"+url.PathEscape(id)), map[string]any{"sni_endpoint": to}, nil)
}

func (a *api) configVars(ctx context.Context, app string) (map[string]string, error) {
	out := map[string]string{}
	err := a.do(ctx, http.MethodGet, of(app, "/config-vars"), nil, &out)
	return out, err
}

// setConfigVars changes some; nil removes one.
func (a *api) setConfigVars(ctx context.Context, app string, changes map[string]*string) error {
	return a.do(ctx, http.MethodPatch, of(app, "/config-vars"), changes, nil)
}

func (a *api) preboot(ctx context.Context, app string) (bool, error) {
	var out struct{ Enabled bool }
	err := a.do(ctx, http.MethodGet, of(app, "/features/preboot"), nil, &out)
	return out.Enabled, err
}

func (a *api) setPreboot(ctx context.Context, app string, enabled bool) error {
	return a.do(ctx, http.MethodPatch, of(app, "/features/preboot"), map[string]bool{"enabled": enabled}, nil)
}

// release is the newest release's version.
func (a *api) release(ctx context.Context, app string) (int, error) {
	r, err := request(http.MethodGet, of(app, "/releases"), nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Range", "version ..; order=desc,max=1")
	var out []struct{ Version int }
	if err := a.client.DoJSON(ctx, r, &out); err != nil {
		return 0, err
	}
	if len(out) == 0 {
		return 0, sdk.Problemf(sdk.NotFound, "the app %s has no release", app)
	}
	return out[0].Version, nil
}

func (a *api) sniEndpoint(ctx context.Context, app, id string) (sniEndpoint, error) {
	var out sniEndpoint
	err := a.do(ctx, http.MethodGet, of(app, "/sni-endpoints/"+url.PathEscape(id)), nil, &out)
	return out, err
}

type certificateBody struct {
	CertificateChain string `json:"certificate_chain"`
	PrivateKey       string `json:"private_key"`
}

func (a *api) createSNIEndpoint(ctx context.Context, app string, c certificateBody) (sniEndpoint, error) {
	var out sniEndpoint
	err := a.do(ctx, http.MethodPost, of(app, "/sni-endpoints"), c, &out)
	return out, err
}

func (a *api) updateSNIEndpoint(ctx context.Context, app, id string, c certificateBody) error {
	return a.do(ctx, http.MethodPatch, of(app, "/sni-endpoints/"+url.PathEscape(id)), c, nil)
}

func (a *api) deleteSNIEndpoint(ctx context.Context, app, id string) error {
	return a.do(ctx, http.MethodDelete, of(app, "/sni-endpoints/"+url.PathEscape(id)), nil, nil)
}

func notFound(err error) bool { return httpapi.Status(err) == http.StatusNotFound }
