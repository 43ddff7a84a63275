package main

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	AccessKeyID      sdk.Secret    `setting:"access_key_id" doc:"access key of the AWS account"`
	SecretAccessKey  sdk.Secret    `setting:"secret_access_key" doc:"its secret"`
	SessionToken     sdk.Secret    `setting:"session_token" doc:"its session token, if it is a temporary one"`
	InstanceMetadata string        `setting:"instance_metadata" doc:"in place of the keys: take those of the EC2 instance's role from here; mostly http://169.254.169.254"`
	Bucket           string        `setting:"bucket" doc:"http-01: bucket that the names' port 80 is served from"`
	Region           string        `setting:"region" default:"us-east-1" doc:"region of the bucket; CloudFront's certificates are always in us-east-1"`
	Prefix           string        `setting:"prefix" doc:"http-01: directory in the bucket that is served as /, if it is not the whole bucket"`
	ACL              string        `setting:"acl" doc:"http-01: canned ACL of the objects, such as public-read; most buckets refuse any"`
	VerifyPort       string        `setting:"verify_port" doc:"http-01: look at this port of the name, mostly 80, whether the answer is there; empty: do not look"`
	Distributions    []string      `setting:"distributions" doc:"IDs of the CloudFront distributions that certificates go to"`
	Store            string        `setting:"store" default:"acm" choices:"acm,iam" doc:"where CloudFront finds the certificates: acm or iam"`
	MinimumProtocol  string        `setting:"minimum_protocol" default:"TLSv1.2_2021" doc:"security policy of a distribution that had CloudFront's own certificate; another one keeps what it has"`
	Wait             time.Duration `setting:"wait" default:"0s" doc:"wait until CloudFront has changed all its servers, at most so long; 0s: do not wait"`
	Endpoints        []string      `setting:"endpoints" doc:"where the certificate is to be seen after the deployment, as host:port; wants wait"`
	Endpoint         string        `setting:"endpoint" doc:"URL of a service that speaks for AWS, such as an S3-compatible one; buckets are then part of the path"`
}

var (
	bucketPattern       = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionPattern       = regexp.MustCompile(`^[a-z0-9-]+$`)
	distributionPattern = regexp.MustCompile(`^[A-Z0-9]{1,64}$`)
	aclPattern          = regexp.MustCompile(`^[a-z-]+$`)
)

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting "+setting+": "+format, args...)
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	switch keys := s.AccessKeyID != "" || s.SecretAccessKey != "" || s.SessionToken != ""; {
	case s.InstanceMetadata == "" && s.AccessKeyID == "":
		wrong("access_key_id", "set access_key_id and secret_access_key, or instance_metadata on an EC2 instance with a role", "it is missing")
	case s.InstanceMetadata == "" && s.SecretAccessKey == "":
		wrong("secret_access_key", "set it by reference, as in {file: /run/keys/aws}", "it is missing")
	case s.InstanceMetadata != "" && keys:
		wrong("instance_metadata", "keep one of the two", "there are access keys already")
	}
	for setting, value := range map[string]string{"endpoint": s.Endpoint, "instance_metadata": s.InstanceMetadata} {
		if value == "" {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			wrong(setting, "write it as in https://s3.example.com:9000", "%q is not the URL of a service", value)
		}
	}
	if s.Bucket == "" && len(s.Distributions) == 0 {
		wrong("bucket", "set bucket for http-01, distributions to have certificates deployed", "there is nothing to do: bucket and distributions are both missing")
	}
	if s.Bucket != "" && !bucketPattern.MatchString(s.Bucket) {
		wrong("bucket", "give the bucket's name alone, without s3:// and without a region", "%q is not the name of a bucket", s.Bucket)
	}
	if !regionPattern.MatchString(s.Region) {
		wrong("region", "write it as in eu-central-1", "%q is not a region", s.Region)
	}
	if slices.Contains(strings.Split(s.Prefix, "/"), "..") || strings.ContainsFunc(s.Prefix, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		wrong("prefix", "write it as in site/public", "%q is not a directory of a bucket", s.Prefix)
	}
	if s.ACL != "" && !aclPattern.MatchString(s.ACL) {
		wrong("acl", "write it as in public-read", "%q is not a canned ACL", s.ACL)
	}
	if s.VerifyPort != "" {
		if n, err := strconv.ParseUint(s.VerifyPort, 10, 16); err != nil || n == 0 {
			wrong("verify_port", "the CA looks at port 80", "%q is not a TCP port", s.VerifyPort)
		}
	}
	seen := map[string]bool{}
	for _, id := range s.Distributions {
		if !distributionPattern.MatchString(id) || seen[id] {
			wrong("distributions", "give each distribution's ID once, as in EDFDVBD6EXAMPLE", "%q is no ID, or is there twice", id)
		}
		seen[id] = true
	}
	if s.Wait < 0 {
		wrong("wait", "write it as in 10m, and give the instance a timeout that is longer", "%s is negative", s.Wait)
	}
	for _, e := range s.Endpoints {
		if err := checkAddress(e); err != nil {
			wrong("endpoints", "write it as in www.example.com:443", "%q: %w", e, err)
		}
	}
	return errors.Join(errs...)
}

func checkAddress(address string) error {
	host, port, ok := strings.Cut(address, ":")
	if strings.HasPrefix(address, "[") {
		_, err := netip.ParseAddrPort(address)
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); !ok || host == "" || err != nil || n == 0 {
		return errors.New("it is not host:port")
	}
	return nil
}

func notInstaller() error {
	err := sdk.Problemf(sdk.InvalidConfig, "the setting distributions is missing, so there is no place for certificates")
	return sdk.Hint(sdk.Subject(sdk.Permanent(err), "distributions"), "set distributions to the IDs of the CloudFront distributions")
}

func notAuthenticator() error {
	err := sdk.Problemf(sdk.InvalidConfig, "the setting bucket is missing, so no challenge can be answered")
	return sdk.Hint(sdk.Subject(sdk.Permanent(err), "bucket"), "set bucket to the bucket that the names' port 80 is served from")
}
