package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/httpapi"
)

// api is what is used of https://pve.proxmox.com/pve-docs/api-viewer.
type api struct{ client *httpapi.Client }

// certificate is an entry of pve-certificate-info.
type certificate struct {
	Filename    string `json:"filename"`
	Fingerprint string `json:"fingerprint"`
	PEM         string `json:"pem"`
}

// customFile is what pveproxy serves in place of its own certificate.
const customFile = "pveproxy-ssl.pem"

// limits of a request, zero for those of httpapi: one attempt, and the first pause
// between two.
type limits struct{ attempt, wait time.Duration }

func newAPI(s settings, also func(string) bool, limits limits) (api, error) {
	client, err := httpapi.New(httpapi.Options{
		Endpoint: s.Endpoint + "/api2/json", CAFile: s.CAFile, Fingerprint: s.Fingerprint, Also: also, Explain: explain,
		Attempt: limits.attempt, Wait: limits.wait,
		Sign: func(r *http.Request) error {
			// A token needs no CSRF header.
			r.Header.Set("Authorization", "PVEAPIToken="+s.TokenID+"="+string(s.TokenSecret))
			return nil
		},
	})
	return api{client}, err
}

// explain finds what Proxmox says: in the status line, and for parameters in the
// body.
func explain(r *httpapi.Response) string {
	var body struct {
		Message string            `json:"message"`
		Errors  map[string]string `json:"errors"`
	}
	_ = json.Unmarshal(r.Body, &body) // there may be none
	words := []string{strings.TrimSpace(body.Message)}
	if words[0] == "" {
		words[0] = r.Reason
	}
	var names []string
	for name := range body.Errors {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		words = append(words, name+": "+strings.TrimSpace(body.Errors[name]))
	}
	return strings.Join(words, " ")
}

// custom gives the custom certificate of a node; nil: it has none.
func (a api) custom(ctx context.Context, node string) (*certificate, error) {
	var answer struct{ Data []certificate }
	err := a.client.JSON(ctx, http.MethodGet, "nodes/"+url.PathEscape(node)+"/certificates/info", nil, &answer)
	if err != nil {
		return nil, hint(err, node)
	}
	for _, c := range answer.Data {
		if c.Filename == customFile {
			return &c, nil
		}
	}
	return nil, nil //nolint:nilnil // no certificate, no error
}

// members are the names of the cluster's nodes, those that are off too.
func (a api) members(ctx context.Context) ([]string, error) {
	var answer struct {
		Data []struct {
			Node string `json:"node"`
		}
	}
	err := a.client.JSON(ctx, http.MethodGet, "nodes", nil, &answer)
	var names []string
	for _, n := range answer.Data {
		names = append(names, n.Node)
	}
	return names, err
}

// upload puts a custom certificate into a node and has its pveproxy restarted.
func (a api) upload(ctx context.Context, node string, w wanted, force bool) error {
	form := url.Values{"certificates": {w.Fullchain}, "key": {w.Key}, "restart": {"1"}, "force": {"0"}}
	if force {
		form.Set("force", "1")
	}
	_, err := a.client.Do(ctx, httpapi.Request{
		Method: http.MethodPost, Path: "nodes/" + url.PathEscape(node) + "/certificates/custom",
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}},
		Body:   []byte(form.Encode()),
	})
	return hint(err, node)
}

// remove lets a node go back to its built-in certificate.
func (a api) remove(ctx context.Context, node string) error {
	_, err := a.client.Do(ctx, httpapi.Request{
		Method: http.MethodDelete, Path: "nodes/" + url.PathEscape(node) + "/certificates/custom", Query: url.Values{"restart": {"1"}},
	})
	return hint(err, node)
}

// mayModify says whether the token has the privilege that is needed at a node.
func (a api) mayModify(ctx context.Context, node string) error {
	path := "/nodes/" + node
	var answer struct{ Data map[string]map[string]int }
	err := a.client.DoJSON(ctx, httpapi.Request{Path: "access/permissions", Query: url.Values{"path": {path}}}, &answer)
	if err != nil {
		return hint(err, node)
	}
	if _, ok := answer.Data[path][privilege]; !ok {
		problem := sdk.Problemf(sdk.PermissionDenied, "the token lacks the privilege %s on %s", privilege, path)
		return sdk.Hint(sdk.Permanent(problem), "%s", grant(node))
	}
	return nil
}

const privilege = "Sys.Modify"

func grant(node string) string {
	return "give the token a role with " + privilege + " on /nodes/" + node + ", and its user too if privileges are separated"
}

// hint says what to do about an answer.
func hint(err error, node string) error {
	switch httpapi.Status(err) {
	case 0:
		return err
	case http.StatusUnauthorized:
		return sdk.Hint(err, "check token_id and token_secret, and that the token has not expired")
	case http.StatusForbidden:
		return sdk.Hint(err, "%s", grant(node))
	case http.StatusInternalServerError:
		if strings.Contains(err.Error(), "force flag is not set") {
			return sdk.Hint(err, "set force to replace what is there: Proxmox never gives its key back, so no rollback can restore it")
		}
	case http.StatusBadRequest:
		return sdk.Hint(err, "check that the nodes of the setting nodes are those of this cluster")
	}
	return err
}

// refused says that there was an answer, and that it is final.
func refused(err error) bool {
	var status *httpapi.StatusError
	return errors.As(err, &status) && status.Response.Status/100 == 4
}
