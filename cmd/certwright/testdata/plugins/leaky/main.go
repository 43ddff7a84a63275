// Command certwright-plugin-leaky is an authenticator for stories that gives its
// secret away in the ways that careless programs do. It puts http-01 challenges
// into a directory, as webroot does.
package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Token sdk.Secret `setting:"token,required" doc:"what is given away"`
	Way   string     `setting:"way" doc:"where: configure, problem, error, result, panic or wait; all ways are chatty"`
	Web   string     `setting:"web,required" doc:"the directory"`
}

type leaky struct{ settings settings }

func main() {
	l := &leaky{}
	sdk.Serve(sdk.Plugin{
		Name: "leaky", Version: "1.0.0", Summary: "gives its secret away", Settings: &l.settings,
		Authenticator: l, ChallengeTypes: []string{sdk.HTTP01},
		Permissions: sdk.Permissions{Write: []sdk.Value{sdk.FromSetting("web")}},
	})
}

// forms are how the token gets into texts.
func (l *leaky) forms() []string {
	token := string(l.settings.Token)
	key := "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----"
	return []string{
		"plain " + token, fmt.Sprintf("quoted %q", token), "GET /?token=" + url.QueryEscape(token),
		"basic " + base64.StdEncoding.EncodeToString([]byte("me:"+token)), "hex " + hex.EncodeToString([]byte(token)),
		"with a line end\n" + token + "\nin the middle", key,
	}
}

func (l *leaky) all() string { return strings.Join(l.forms(), "; ") }

func (l *leaky) Configure(context.Context, sdk.Instance) error {
	for _, form := range l.forms() {
		fmt.Fprintln(os.Stderr, "configured with", form)
		fmt.Println("printed", form)
		fmt.Fprintf(os.Stderr, `{"@message": %q, "@level": "warn", "token": %q, %q: true}`+"\n", form, form, form)
	}
	if l.settings.Way == "configure" {
		p := sdk.Subject(sdk.Problemf(sdk.InvalidConfig, "the token is wrong: %s", l.all()), "token")
		return sdk.Hint(p, "do not use %s", l.all())
	}
	return nil
}

func (l *leaky) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	for _, form := range l.forms() {
		r.Progress(form, form)
		r.Say(sdk.Stdout, form+"\n")
		r.Say(sdk.Stderr, form+"\n")
	}
	// Nobody answers; what counts is that it is asked.
	if _, err := r.Ask(ctx, "is it "+l.all()+"? "); err != nil && !errors.Is(err, sdk.ErrNotInteractive) {
		return err
	}
	failure := sdk.Hint(sdk.Problemf(sdk.Credentials, "refused: %s", l.all()), "do not use %s", l.all())
	switch l.settings.Way {
	case "problem":
		return failure
	case "error":
		return errors.New(l.all())
	case "result":
		r.Result(sdk.Result{Subject: challenges[0].ID, Err: failure})
		return nil
	case "panic":
		go func() { panic(l.all()) }()
		select {}
	}
	for _, c := range challenges {
		path := filepath.Join(l.settings.Web, filepath.FromSlash(c.HTTP.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, c.HTTP.Body, 0o644); err != nil {
			return err
		}
		r.Result(sdk.Result{Subject: c.ID, Receipt: []byte(l.all()), Diff: l.all()})
	}
	if l.settings.Way == "wait" {
		<-ctx.Done()
	}
	return nil
}

func (l *leaky) Cleanup(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	for _, c := range challenges {
		r.Progress(c.ID, l.all())
		err := os.Remove(filepath.Join(l.settings.Web, filepath.FromSlash(c.HTTP.Path)))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}
