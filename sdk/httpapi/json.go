package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/certwright/certwright/sdk"
)

// JSON sends in as a JSON body, none if it is nil, and reads the answer into
// out, which may be nil. Fields of an answer that out does not have are ignored.
func (c *Client) JSON(ctx context.Context, method, path string, in, out any) error {
	r := Request{Method: method, Path: path, Header: http.Header{"Accept": {"application/json"}}}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return sdk.Problemf(sdk.Internal, "%s %s: write the body: %w", method, path, err)
		}
		r.Body = body
		r.Header.Set("Content-Type", "application/json")
	}
	return c.DoJSON(ctx, r, out)
}

// DoJSON sends a request as it is and reads the answer into out, which may be nil.
func (c *Client) DoJSON(ctx context.Context, r Request, out any) error {
	answer, err := c.Do(ctx, r)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer.Body, out); err != nil {
		return sdk.Hint(sdk.Problemf(sdk.Internal, "%s %s: the answer is not the JSON that is documented: %w", r.Method, bare(c.url(r)), err),
			"check that the address is that of the API")
	}
	return nil
}
