package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

var errDynos = errors.New("they took too long")

// restarted waits until all web dynos of an app run its newest release.
func (h *heroku) restarted(ctx context.Context, app string) error {
	release, err := h.api.release(ctx, app)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.settings.DynoWait, errDynos)
	defer cancel()
	const most = 5 * time.Second
	waiting := "nobody has said yet which"
	for pause := h.pause; ; pause = min(pause*3/2, most) {
		dynos, err := h.api.dynos(ctx, app)
		web := slices.DeleteFunc(dynos, func(d dyno) bool { return d.Type != "web" })
		var now string
		switch {
		case err != nil:
		case len(web) > 0:
			now, err = behind(web, release)
		default:
			now, err = h.unseen(ctx, app)
		}
		if err == nil {
			waiting = now // what was seen last, if the time is over amid a look
		}
		if err == nil && waiting == "" {
			return nil
		}
		if err != nil && !errors.Is(context.Cause(ctx), errDynos) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if cause := context.Cause(ctx); !errors.Is(cause, errDynos) {
				return cause
			}
			p := sdk.Problemf(sdk.Timeout, "the dynos do not run release v%d after %s: %s", release, h.settings.DynoWait, waiting)
			return sdk.Hint(sdk.RetryAfter(p, 0), "see heroku logs --app %s, or give them more time by dyno_wait", app)
		}
	}
}

// unseen says what there is to wait for while no web dyno is to be seen, as it is
// for a moment of a restart; an error is what does not get better.
func (h *heroku) unseen(ctx context.Context, app string) (string, error) {
	wanted, err := h.api.webDynos(ctx, app)
	if err != nil {
		return "", err
	}
	if wanted == 0 {
		p := sdk.Problemf(sdk.NotRunning, "the app has no web dyno, so nobody answers the CA")
		return "", sdk.Hint(sdk.Permanent(p), "run heroku ps:scale web=1, or choose another authenticator")
	}
	return fmt.Sprintf("none of %d web dynos is there", wanted), nil
}

// behind says which web dynos are not there yet; an error is what does not get
// better.
func behind(web []dyno, release int) (string, error) {
	var waiting []string
	for _, d := range web {
		switch {
		case d.Release.Version < release:
			waiting = append(waiting, fmt.Sprintf("%s runs v%d", d.Name, d.Release.Version))
		case d.State == "up", d.State == "idle": // one that sleeps is woken by the CA
		case d.State == "crashed":
			p := sdk.Problemf(sdk.NotRunning, "the dyno %s crashed with release v%d", d.Name, release)
			return "", sdk.Hint(sdk.RetryAfter(p, 0), "see heroku logs for the reason")
		default:
			waiting = append(waiting, fmt.Sprintf("%s is %s", d.Name, d.State))
		}
	}
	return strings.Join(waiting, ", "), nil
}
