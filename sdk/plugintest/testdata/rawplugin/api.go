package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

// byAPI tells whether records are kept by the provider's API.
func (a *authenticator) byAPI(c *pb.Challenge) bool { return a.api != "" && c.GetDns() != nil }

var errNotThere = errors.New("404")

// add looks before it adds: the same call may have come before.
func (a *authenticator) add(ctx context.Context, d *pb.DnsChallenge) *pb.Problem {
	a.made[d.GetName()] = true
	if !is("blind") {
		switch p, err := a.request(ctx, http.MethodGet, d); {
		case p == nil && err == nil:
			return nil
		case !errors.Is(err, errNotThere):
			return p
		}
	}
	p, _ := a.request(ctx, http.MethodPost, d)
	return p
}

func (a *authenticator) remove(ctx context.Context, d *pb.DnsChallenge) *pb.Problem {
	if is("keeps") || is("memory") && !a.made[d.GetName()] {
		return nil
	}
	p, _ := a.request(ctx, http.MethodDelete, d)
	return p
}

// request gives a problem for what failed; the error tells what is not there.
func (a *authenticator) request(ctx context.Context, method string, d *pb.DnsChallenge) (*pb.Problem, error) {
	client := &http.Client{}
	switch {
	case is("impatient"):
		client.Timeout = 20 * time.Millisecond
	case is("stuck"):
		ctx = context.WithoutCancel(ctx)
	}
	query := url.Values{"name": {d.GetName()}, "value": {d.GetValue()}}
	if is("sweeps") && method == http.MethodDelete {
		query.Del("value") // all of the name
	}
	req, err := http.NewRequestWithContext(ctx, method, a.api+"/records?"+query.Encode(), nil)
	if err != nil {
		return problem(pb.Problem_INTERNAL, err.Error()), err
	}
	resp, err := client.Do(req)
	if err != nil {
		return a.failure(pb.Problem_UNAVAILABLE, err, 0), err
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil, nil
	case http.StatusNotFound:
		return nil, errNotThere
	case http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		err := errors.New("too many requests")
		return a.failure(pb.Problem_RATE_LIMITED, err, time.Duration(seconds)*time.Second), err
	}
	err = fmt.Errorf("status %d", resp.StatusCode)
	return a.failure(pb.Problem_UNAVAILABLE, err, 0), err
}

func (a *authenticator) failure(code pb.Problem_Code, err error, after time.Duration) *pb.Problem {
	p := problem(code, err.Error())
	p.Retry = pb.Problem_RETRYABLE
	if after > 0 && !is("timeless") {
		p.RetryAfter = durationpb.New(after)
	}
	switch {
	case is("permanent"):
		p.Retry = pb.Problem_PERMANENT
	case is("believes"):
		return nil
	}
	return p
}
