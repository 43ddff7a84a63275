// Package httpapi is the HTTP client of plugins that drive a provider's API:
// time-outs, retries with back-off that honour Retry-After (RFC 9110 section
// 10.2.3), credentials put on anew for each attempt, bounded bodies, TLS by the
// system's roots, a CA file or a pinned fingerprint, and failures as an
// [sdk.Problem] with the code that the host acts on.
//
//	api, err := httpapi.New(httpapi.Options{
//		Endpoint: settings.Endpoint,
//		Sign: func(r *http.Request) error {
//			r.Header.Set("Authorization", "Bearer "+token)
//			return nil
//		},
//	})
//	var record Record
//	err = api.JSON(ctx, http.MethodGet, "/domains/example.com/records", nil, &record)
//	if httpapi.Status(err) == http.StatusNotFound { … }
//
// A typed client is a few methods on top. A vendor's own SDK, where a well-kept
// one exists, is better than both.
package httpapi
