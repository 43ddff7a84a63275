package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func TestDesk(t *testing.T) {
	d := &desk{}
	leave, err := d.sit(t.Context(), "a")
	must(t, err)
	d.write("a", true)
	leave()
	// The same certificate goes on, another one waits.
	leave, err = d.sit(t.Context(), "a")
	must(t, err)
	leave()
	came := make(chan struct{})
	go func() {
		defer close(came)
		leave, err := d.sit(context.Background(), "b")
		if err == nil {
			leave()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.sit(ctx, "c"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "deployment of a") {
		t.Errorf("the wait ends with %v", err)
	}
	select {
	case <-came:
		t.Error("b is let in while a writes")
	default:
	}
	equal(t, "a", d.whoever())
	d.write("", false)
	<-came
}

// Several certificates at once, in virtual hosts of one file, with challenges in
// between: each has its own, and no call waits for ever.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var config strings.Builder
	const many = 4
	for n := range many {
		fmt.Fprintf(&config, "<VirtualHost *:{http}>\n    ServerName n%d.test\n    DocumentRoot {dir}/www\n</VirtualHost>\n", n)
	}
	s := plain(t, config.String())
	a := instance(t, s.settings(), t.TempDir())
	var all sync.WaitGroup
	certs := make([]*certificate, many)
	for n := range many {
		certs[n] = newCertificate(t, fmt.Sprintf("n%d.test", n))
		c := certs[n]
		all.Go(func() {
			one := challengeFor(c.name, "token-"+c.name[:2])
			r := &recorder{}
			if err := a.Perform(during(t.Context(), c.name, "perform"), []sdk.Challenge{one}, r); err != nil {
				t.Error(err)
			}
			if got := s.get(s.addr4(s.http), c.name, one.HTTP.Path); got != "200 "+one.KeyAuthorization {
				t.Errorf("%s: %s", c.name, got)
			}
			if err := a.Cleanup(during(t.Context(), c.name, "cleanup"), []sdk.Challenge{one}, r); err != nil {
				t.Error(err)
			}
			if _, err := stage(t.Context(), a, c, "", r); err != nil {
				t.Error(err)
				return
			}
			if err := a.Restart(during(t.Context(), c.name, "restart"), r); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, c := range certs {
		s.serves(c.name, c.newest())
	}
	for path, text := range s.look() {
		if strings.Contains(text, "certwright-challenge") || strings.Contains(path, "certwright-challenge") {
			t.Errorf("a challenge is left in %s", path)
		}
	}
}
