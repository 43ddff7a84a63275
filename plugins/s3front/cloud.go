package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// certificateRegion is the only one whose certificates CloudFront takes, and the
// one that requests to the global services are signed for.
const certificateRegion = "us-east-1"

// patience is how long things may take.
type patience struct {
	// request is for one try of one request; tries are how often it is made.
	request time.Duration
	tries   int
	// pause is the first one between two looks, and between two tries.
	pause, most time.Duration
	// settle is how long a new certificate or object may be unknown to the next.
	settle time.Duration
}

// real is for AWS itself.
var real = patience{request: 30 * time.Second, tries: 6, pause: 500 * time.Millisecond, most: 20 * time.Second, settle: time.Minute}

// cloud is what is needed of AWS.
type cloud struct {
	s3         *s3.Client
	cloudfront *cloudfront.Client
	acm        *acm.Client
	iam        *iam.Client
	patience   patience
}

func newCloud(s settings, p patience) *cloud {
	return newCloudBy(awshttp.NewBuildableClient().WithTimeout(p.request).WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		t.MaxIdleConnsPerHost = 4
	}), s, p)
}

func newCloudBy(client aws.HTTPClient, s settings, p patience) *cloud {
	config := aws.Config{
		Region:      certificateRegion,
		HTTPClient:  client,
		Credentials: aws.NewCredentialsCache(credentialsOf(s)),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = p.tries, p.most
				o.Backoff = retry.NewExponentialJitterBackoff(p.most)
				// One run asks seldom: a quota of its own would only end it early.
				o.RateLimiter = unlimited{}
			})
		},
	}
	if s.Endpoint != "" {
		config.BaseEndpoint = aws.String(s.Endpoint)
	}
	return &cloud{
		s3: s3.NewFromConfig(config, func(o *s3.Options) {
			o.Region = s.Region
			o.UsePathStyle = s.Endpoint != ""
			// Not every S3-compatible service knows the newer checksums; the body is
			// covered by TLS, or without it by the signature.
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}),
		cloudfront: cloudfront.NewFromConfig(config),
		acm:        acm.NewFromConfig(config),
		iam:        iam.NewFromConfig(config),
		patience:   p,
	}
}

func credentialsOf(s settings) aws.CredentialsProvider {
	if s.InstanceMetadata != "" {
		return ec2rolecreds.New(func(o *ec2rolecreds.Options) {
			o.Client = imds.New(imds.Options{Endpoint: s.InstanceMetadata, ClientEnableState: imds.ClientEnabled})
		})
	}
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{
			AccessKeyID: string(s.AccessKeyID), SecretAccessKey: string(s.SecretAccessKey), SessionToken: string(s.SessionToken),
			Source: "settings",
		}, nil
	})
}

// unlimited never refuses a retry.
type unlimited struct{}

func (unlimited) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (unlimited) AddTokens(uint) error { return nil }

// eventually calls try until it gives no error, an error that it does not want
// to try again, or limit is over; then it gives the last error.
func (c *cloud) eventually(ctx context.Context, limit time.Duration, try func() (again bool, err error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errPatience)
	defer cancel()
	for pause := c.patience.pause; ; pause = min(2*pause, c.patience.most) {
		again, err := try()
		if err == nil || !again {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if cause := context.Cause(ctx); !errors.Is(cause, errPatience) {
				return cause
			}
			return err
		}
	}
}

var errPatience = errors.New("it took too long")
