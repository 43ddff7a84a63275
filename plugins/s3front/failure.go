package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/certwright/certwright/sdk"
)

// meanings of the error codes of AWS; each service has its own for the same.
var meanings = []struct {
	codes []string
	code  sdk.Code
	retry sdk.Retry
	hint  string
}{
	{[]string{"ExpiredToken", "ExpiredTokenException", "RequestExpired"}, sdk.Credentials, sdk.RetryNever,
		"get a new session token, and put it where the settings refer to"},
	{[]string{"RequestTimeTooSkewed"}, sdk.Credentials, sdk.RetryNever, "set the clock of this machine"},
	{[]string{"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException",
		"IncompleteSignature", "AuthFailure", "InvalidToken", "MissingAuthenticationToken"}, sdk.Credentials, sdk.RetryNever,
		"check access_key_id, secret_access_key and session_token"},
	{[]string{"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation"}, sdk.PermissionDenied, sdk.RetryNever,
		"give the access key the permissions of the plugin's page"},
	{[]string{"AccessControlListNotSupported"}, sdk.InvalidConfig, sdk.RetryNever,
		"leave the setting acl out, and make the objects readable by a bucket policy or through CloudFront"},
	{[]string{"NoSuchBucket"}, sdk.NotFound, sdk.RetryNever, "correct the setting bucket"},
	{[]string{"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}, sdk.InvalidConfig, sdk.RetryNever,
		"set region to the one that the bucket is in"},
	{[]string{"NoSuchDistribution"}, sdk.NotFound, sdk.RetryNever, "correct the setting distributions"},
	{[]string{"LimitExceeded", "LimitExceededException"}, sdk.Conflict, sdk.RetryNever,
		"remove certificates that nobody uses, or ask AWS for a higher quota"},
	{[]string{"InvalidViewerCertificate"}, sdk.Conflict, sdk.RetryNever, ""},
}

// failure says what was attempted, and why AWS did not do it.
func failure(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	var api smithy.APIError
	if !errors.As(err, &api) {
		return unanswered(err, what)
	}
	p := sdk.Problemf(sdk.Internal, "%s: %s", what, told(err, api))
	for _, m := range meanings {
		if slices.Contains(m.codes, api.ErrorCode()) {
			p.Code, p.Retry, p.Hint = m.code, m.retry, m.hint
			return &failed{Problem: p, cause: err}
		}
	}
	switch status := statusOf(err); {
	case throttled(api.ErrorCode()) || status == http.StatusTooManyRequests:
		p.Code, p.Retry = sdk.RateLimited, sdk.RetryLater
	case status >= 500:
		p.Code, p.Retry = sdk.Unavailable, sdk.RetryLater
	case status == http.StatusConflict || status == http.StatusPreconditionFailed: // somebody else was faster
		p.Code, p.Retry = sdk.Conflict, sdk.RetryLater
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		p.Code, p.Retry, p.Hint = sdk.PermissionDenied, sdk.RetryNever, "give the access key the permissions of the plugin's page"
	case status == http.StatusNotFound:
		p.Code = sdk.NotFound
	}
	return &failed{Problem: p, cause: err}
}

// failed is a Problem that keeps the error of the SDK, for those that look at its
// code.
type failed struct {
	*sdk.Problem
	cause error
}

// Unwrap gives both.
func (f *failed) Unwrap() []error { return []error{f.Problem, f.cause} }

// told is what AWS said, with the number that its support asks for.
func told(err error, api smithy.APIError) string {
	text := strings.TrimSpace(api.ErrorCode() + ": " + strings.TrimSpace(api.ErrorMessage()))
	text = strings.TrimSuffix(text, ".")
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.ServiceRequestID() != "" {
		text += " (request " + response.ServiceRequestID() + ")"
	}
	return text
}

// unanswered is for what never came to an answer that could be read.
func unanswered(err error, what string) error {
	code, retry, hint := sdk.Unavailable, sdk.RetryLater, ""
	var operation *smithy.OperationError
	reason := err
	if errors.As(err, &operation) {
		reason = operation.Err
	}
	switch {
	case errors.Is(err, context.Canceled):
		code, retry = sdk.Cancelled, sdk.RetryUnspecified
	case errors.Is(err, context.DeadlineExceeded):
		code = sdk.Timeout
	case strings.Contains(err.Error(), "failed to refresh cached credentials"):
		code, hint = sdk.Credentials, "give the EC2 instance a role, or set access keys in place of instance_metadata"
	case statusOf(err) == http.StatusPreconditionFailed:
		code = sdk.Conflict
	}
	return sdk.Hint(&failed{Problem: &sdk.Problem{Code: code, Retry: retry, Summary: what, Detail: reason.Error()}, cause: err}, "%s", hint)
}

func statusOf(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

func throttled(code string) bool {
	return slices.Contains([]string{"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestThrottled", "SlowDown",
		"RequestLimitExceeded", "PriorRequestNotComplete", "BandwidthLimitExceeded"}, code)
}

// is says whether AWS answered with one of these codes.
func is(err error, codes ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode())
}

// gone says that there is no such thing, or no more.
func gone(err error) bool {
	return is(err, "ResourceNotFoundException", "NoSuchEntity", "NoSuchEntityException", "NoSuchKey")
}
