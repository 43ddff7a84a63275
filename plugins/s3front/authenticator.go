package main

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/certwright/certwright/sdk"
)

// tokenPattern is base64url (RFC 8555 section 8.3): a token of this kind names
// an object below its directory and nothing else.
var tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// together is how many objects are brought at once.
const together = 8

// Prefer refuses everything where there is no bucket, and wildcard names.
func (f *front) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	out := make([]sdk.Preference, 0, len(ids))
	for _, id := range ids {
		p := sdk.Preference{Identifier: id, ChallengeTypes: []string{sdk.HTTP01}}
		if p.Err = f.serves(id); p.Err != nil {
			p.ChallengeTypes = nil
		}
		out = append(out, p)
	}
	return out, nil
}

func (f *front) serves(id sdk.Identifier) error {
	if f.settings.Bucket == "" {
		return notAuthenticator()
	}
	if id.Wildcard {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "the wildcard name %s cannot be proven by http-01", id))
		return sdk.Hint(err, "choose a DNS authenticator for this name")
	}
	return nil
}

// Perform puts one object for each challenge.
func (f *front) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	return each(ctx, challenges, r, f.put)
}

// Cleanup deletes the objects. S3 says of one that is not there that it is
// deleted.
func (f *front) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	return each(ctx, challenges, r, f.remove)
}

// each does it for some challenges at a time; one that fails stops no other.
func each(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter, do func(context.Context, sdk.Challenge) error) error {
	var all sync.WaitGroup
	free := make(chan struct{}, together)
	for _, c := range challenges {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			err := do(ctx, c)
			if err != nil {
				err = sdk.Subject(fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err), c.ID)
			}
			r.Result(sdk.Result{Subject: c.ID, Err: err})
		})
	}
	all.Wait()
	return ctx.Err()
}

func (f *front) put(ctx context.Context, c sdk.Challenge) error {
	if err := f.serves(c.Identifier); err != nil {
		return err
	}
	if c.Type != sdk.HTTP01 {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "this plugin answers http-01 only"))
		return sdk.Hint(err, "choose another authenticator for this name")
	}
	if !tokenPattern.MatchString(c.Token) {
		return sdk.Permanent(sdk.Problemf(sdk.Unsupported, "token %q is not base64url, so no object is named after it", c.Token))
	}
	body := c.KeyAuthorization
	if c.HTTP != nil {
		body = string(c.HTTP.Body)
	}
	if body == "" {
		return sdk.Problemf(sdk.Internal, "the host sent no body")
	}
	key := f.key(c.Token)
	f.step("put " + key)
	_, err := f.cloud.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(f.settings.Bucket), Key: aws.String(key), Body: strings.NewReader(body),
		ContentType: aws.String("application/octet-stream"), // RFC 8555 section 8.3
		// A cache in front would keep it, or the 404 of before.
		CacheControl: aws.String("no-store"),
		ACL:          types.ObjectCannedACL(f.settings.ACL),
	})
	if err != nil {
		return failure(err, "put the object %s into the bucket %s", key, f.settings.Bucket)
	}
	return f.verify(ctx, c, body)
}

func (f *front) remove(ctx context.Context, c sdk.Challenge) error {
	if f.settings.Bucket == "" || c.Type != sdk.HTTP01 || !tokenPattern.MatchString(c.Token) {
		return nil // nothing was put for it
	}
	key := f.key(c.Token)
	f.step("delete " + key)
	_, err := f.cloud.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(f.settings.Bucket), Key: aws.String(key)})
	if gone(err) || err == nil {
		return nil
	}
	err = failure(err, "delete the object %s from the bucket %s", key, f.settings.Bucket)
	if is(err, "NoSuchBucket") {
		return nil // and with the bucket all that was in it
	}
	return err
}

// key is the object that is served as the challenge's path.
func (f *front) key(token string) string {
	return strings.TrimPrefix(path.Join("/", f.settings.Prefix, ".well-known/acme-challenge", token), "/")
}
