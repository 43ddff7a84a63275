package acmeclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// directory is RFC 8555 section 7.1.1, and renewalInfo of RFC 9773.
type directory struct {
	NewNonce    string `json:"newNonce"`
	NewAccount  string `json:"newAccount"`
	NewOrder    string `json:"newOrder"`
	RevokeCert  string `json:"revokeCert"`
	KeyChange   string `json:"keyChange"`
	RenewalInfo string `json:"renewalInfo"`
	Meta        struct {
		Terms       string            `json:"termsOfService"`
		Website     string            `json:"website"`
		EABRequired bool              `json:"externalAccountRequired"`
		Profiles    map[string]string `json:"profiles"`
	} `json:"meta"`
}

// Directory gives what the CA says of itself. The first call has to reach the CA:
// it keeps trying for Options.ReachWithin, since a CA or a network may just be
// starting, but gives up at once on what time does not mend: a certificate that
// is not trusted, an address where no ACME directory is.
func (c *Client) Directory(ctx context.Context) (model.Directory, error) {
	d, err := c.discover(ctx)
	if err != nil {
		return model.Directory{}, err
	}
	return model.Directory{
		URL: c.server, Terms: d.Meta.Terms, Website: d.Meta.Website,
		EABRequired: d.Meta.EABRequired, Profiles: d.Meta.Profiles, RenewalInfo: d.RenewalInfo,
	}, nil
}

func (c *Client) discover(ctx context.Context) (*directory, error) {
	select {
	case c.directoryLock <- struct{}{}:
		defer func() { <-c.directoryLock }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.directory != nil {
		return c.directory, nil
	}
	d, err := c.reachDirectory(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the directory of the CA at %s: %w", c.server, err)
	}
	c.directory = d
	return d, nil
}

// reachDirectory tries until the time is over.
func (c *Client) reachDirectory(ctx context.Context) (*directory, error) {
	within, cancel := context.WithTimeout(ctx, c.reach)
	defer cancel()
	var last error
	for try := 0; ; try++ {
		d, err := c.readDirectory(within)
		if err == nil || !c.mayComeUp(err) {
			return d, err
		}
		// The last try is cut off by our own deadline and says nothing new.
		if last == nil || within.Err() == nil {
			last = err
		}
		wait := doubled(250*time.Millisecond, 4*time.Second, try)
		if refused := refusal(err); refused != nil {
			if refused.RetryAfter > c.reach {
				// It says itself that it will not be there in time.
				return nil, err
			}
			wait = max(wait, refused.RetryAfter)
		}
		c.log("reading the directory again: %v", err)
		if err := c.pause(within, wait); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("given up after %v: %w", c.reach, last)
		}
	}
}

// mayComeUp says whether a failure to read the directory may be over soon.
func (c *Client) mayComeUp(err error) bool {
	if refused := refusal(err); refused != nil {
		return refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusTooManyRequests
	}
	var lost *noAnswer
	return errors.As(err, &lost) && !untrusted(err) && !plainHTTP(err)
}

func (c *Client) readDirectory(ctx context.Context) (*directory, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server, nil)
	if err != nil {
		return nil, badServer(c.server)
	}
	a, err := c.do(r)
	if refused := refusal(err); refused != nil && !c.mayComeUp(err) {
		return nil, sdk.Hint(err, "check the path in --server: there is no ACME directory")
	}
	if err != nil {
		return nil, err
	}
	var d directory
	if err := json.Unmarshal(a.body, &d); err != nil {
		return nil, notADirectory("what is there is not JSON")
	}
	for name, value := range map[string]string{"newNonce": d.NewNonce, "newAccount": d.NewAccount, "newOrder": d.NewOrder} {
		if u, err := url.Parse(value); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, notADirectory(fmt.Sprintf("what is there has no https address %s", name))
		}
	}
	c.transport.directory.Store(&a.body)
	return &d, nil
}

func notADirectory(why string) error {
	err := sdk.Problemf(sdk.InvalidConfig, "no ACME directory (RFC 8555): %s", why)
	return sdk.Hint(err, "check --server: it wants the URL of the CA's ACME directory")
}

// host is the part of a URL that an error names.
func host(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		return &url.URL{Host: s}
	}
	return u
}
