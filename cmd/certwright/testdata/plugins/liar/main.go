// Command certwright-plugin-liar is an authenticator and installer for stories
// that says what is not so.
package main

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Do       string `setting:"do" choices:"success,unasked,receipts" doc:"how it lies"`
	Port     int    `setting:"port" doc:"where it does its work, for receipts"`
	Endpoint string `setting:"endpoint" doc:"where it says that the certificate is served"`
}

type liar struct {
	settings settings
	server   *http.Server
}

func main() {
	l := &liar{}
	sdk.Serve(sdk.Plugin{
		Name: "liar", Version: "1.0.0", Summary: "says what is not so", Settings: &l.settings,
		Authenticator: l, ChallengeTypes: []string{sdk.HTTP01}, Installer: l,
		Permissions: sdk.Permissions{BindTCP: []sdk.Value{sdk.FromSetting("port")}},
	})
}

func (l *liar) Perform(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	switch l.settings.Do {
	case "unasked":
		for _, id := range []string{"", "1", "nobody's", challenges[0].ID + "x", challenges[0].Identifier.Value} {
			r.Result(sdk.Result{Subject: id, Receipt: []byte("mine")})
		}
		return nil
	case "receipts":
		if err := l.serve(challenges); err != nil {
			return err
		}
		for _, c := range challenges {
			r.Result(sdk.Result{Subject: c.ID, Receipt: make([]byte, 10<<20)})
		}
		return nil
	}
	for _, c := range challenges {
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

func (l *liar) serve(challenges []sdk.Challenge) error {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(l.settings.Port)))
	if err != nil {
		return err
	}
	l.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, c := range challenges {
			if c.HTTP.Path == r.URL.Path {
				_, _ = w.Write(c.HTTP.Body)
			}
		}
	})}
	go func() { _ = l.server.Serve(listener) }()
	return nil
}

func (l *liar) Cleanup(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	if l.server != nil {
		_ = l.server.Close()
	}
	for _, c := range challenges {
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

func (l *liar) Deploy(_ context.Context, d sdk.Deployment, r sdk.Reporter) error {
	result := sdk.Result{Subject: d.Name, Changed: true}
	if l.settings.Endpoint != "" {
		result.Endpoints = []sdk.Endpoint{{Address: l.settings.Endpoint}}
	}
	r.Result(result)
	return nil
}

func (l *liar) Save(context.Context, sdk.SaveRequest, sdk.Reporter) (sdk.Checkpoint, error) {
	return sdk.Checkpoint{ID: "1", Title: "nothing"}, nil
}

func (l *liar) Restart(context.Context, sdk.Reporter) error       { return nil }
func (l *liar) Rollback(context.Context, int, sdk.Reporter) error { return nil }
