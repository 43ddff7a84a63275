package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// The keys of an EC2 instance's role, by IMDSv2.
func TestInstanceMetadata(t *testing.T) {
	cloud := start(t)
	who := cloud.open("from the role")
	cloud.bucket("site", who)
	const tokenHeader, token = "X-Aws-Ec2-Metadata-Token", "metadata-token"
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const roles = "/latest/meta-data/iam/security-credentials/"
		answer := ""
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get(tokenHeader+"-Ttl-Seconds") != "":
			w.Header().Set(tokenHeader+"-Ttl-Seconds", "600")
			answer = token
		case r.Header.Get(tokenHeader) != token:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == roles:
			answer = "certwright"
		case r.URL.Path == roles+"certwright":
			answer = `{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"` + who.key + `","SecretAccessKey":"` + who.secret +
				`","Token":"` + who.token + `","Expiration":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `","LastUpdated":"2026-01-01T00:00:00Z"}`
		default:
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer metadata.Close()
	s := cloud.settings(&account{})
	s.Bucket, s.InstanceMetadata = "site", metadata.URL
	f := configured(t, s, t.TempDir())
	c := challenge("a.test", "token")
	r := &recorder{}
	must(t, f.Perform(t.Context(), []sdk.Challenge{c}, r))
	must(t, r.results[c.ID].Err)
	equal(t, 1, len(cloud.objects("site")))
}

// Each wrong setting is named, and nothing else is.
func TestSettings(t *testing.T) {
	good := settings{
		AccessKeyID: "AKIA", SecretAccessKey: "x", Region: "us-east-1", Store: inACM, MinimumProtocol: "TLSv1.2_2021",
		Bucket: "www.example.com", Distributions: []string{"EDFDVBD6EXAMPLE"},
	}
	must(t, good.check())
	for name, tt := range map[string]struct {
		change  func(*settings)
		subject string
		text    string
	}{
		"no keys":        {func(s *settings) { s.AccessKeyID, s.SecretAccessKey = "", "" }, "access_key_id", "missing"},
		"no secret":      {func(s *settings) { s.SecretAccessKey = "" }, "secret_access_key", "missing"},
		"keys and role":  {func(s *settings) { s.InstanceMetadata = "http://169.254.169.254" }, "instance_metadata", "access keys already"},
		"nothing to do":  {func(s *settings) { s.Bucket, s.Distributions = "", nil }, "bucket", "nothing to do"},
		"URL as bucket":  {func(s *settings) { s.Bucket = "s3://www.example.com" }, "bucket", "not the name of a bucket"},
		"ARN":            {func(s *settings) { s.Distributions = []string{"arn:aws:cloudfront::1:distribution/E1"} }, "distributions", "no ID"},
		"twice":          {func(s *settings) { s.Distributions = []string{"E1", "E1"} }, "distributions", "twice"},
		"endpoint":       {func(s *settings) { s.Endpoint = "s3.example.com" }, "endpoint", "not the URL"},
		"endpoint, key":  {func(s *settings) { s.Endpoint = "https://key:x@s3.example.com" }, "endpoint", "not the URL"},
		"port":           {func(s *settings) { s.VerifyPort = "http" }, "verify_port", "not a TCP port"},
		"prefix":         {func(s *settings) { s.Prefix = "a/../../b" }, "prefix", "not a directory"},
		"acl":            {func(s *settings) { s.ACL = "Public Read" }, "acl", "not a canned ACL"},
		"region":         {func(s *settings) { s.Region = "Frankfurt" }, "region", "not a region"},
		"address":        {func(s *settings) { s.Endpoints = []string{"www.example.com"} }, "endpoints", "host:port"},
		"address, IPv6":  {func(s *settings) { s.Endpoints = []string{"[::1]"} }, "endpoints", "[::1]"},
		"negative times": {func(s *settings) { s.Wait = -time.Second }, "wait", "negative"},
	} {
		s := good
		tt.change(&s)
		p := problem(t, s.check())
		if p.Subject != tt.subject || p.Code != sdk.InvalidConfig || p.Retry != sdk.RetryNever || p.Hint == "" || !strings.Contains(p.Error(), tt.text) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// What is given to secrets is in no description of the settings.
func TestSecretsAreNotShown(t *testing.T) {
	d, err := declaration(newFront()).Description()
	must(t, err)
	for _, s := range d.Settings {
		if want := s.Name == "access_key_id" || s.Name == "secret_access_key" || s.Name == "session_token"; s.Secret != want {
			t.Errorf("%s: secret %v", s.Name, s.Secret)
		}
	}
}

// A call that is cancelled ends, whatever AWS does.
func TestCancelled(t *testing.T) {
	cloud, _, f := deploying(t, byDefaultXML, "a.test")
	arrived := make(chan struct{}, 10)
	cloud.next("GetDistributionConfig", 10, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		cloud.slow(w, r)
	})
	ctx, cancel := context.WithCancel(operation(t.Context(), "a.test", "1"))
	go func() {
		<-arrived
		cancel()
	}()
	if p := problem(t, f.Deploy(ctx, certificate(t, "a.test"), &recorder{})); p.Code != sdk.Cancelled {
		t.Errorf("%+v", p)
	}
}
