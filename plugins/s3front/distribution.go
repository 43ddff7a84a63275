package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// distribution is a distribution's configuration, as CloudFront sent it.
type distribution struct {
	id, etag string
	// document is the whole: CloudFront takes what is not in an update as removed,
	// and the SDK's types know only what there was when they were generated.
	document []byte
	typed    *types.DistributionConfig
}

// aliases are the names that it serves.
func (d *distribution) aliases() []string {
	if d.typed.Aliases == nil {
		return nil
	}
	return d.typed.Aliases.Items
}

func (c *cloud) distribution(ctx context.Context, id string) (*distribution, error) {
	d := &distribution{id: id}
	out, err := c.cloudfront.GetDistributionConfig(ctx, &cloudfront.GetDistributionConfigInput{Id: aws.String(id)},
		cloudfront.WithAPIOptions(func(s *middleware.Stack) error {
			return s.Deserialize.Add(keepDocument(&d.document), middleware.After)
		}))
	if err != nil {
		return nil, failure(err, "read the configuration of the distribution %s", id)
	}
	d.etag, d.typed = aws.ToString(out.ETag), out.DistributionConfig
	if d.typed == nil || d.etag == "" {
		return nil, fmt.Errorf("read the configuration of the distribution %s: the answer has no configuration, or no ETag", id)
	}
	return d, nil
}

// keepDocument keeps the bytes of an answer before the SDK reads them.
func keepDocument(document *[]byte) middleware.DeserializeMiddleware {
	return middleware.DeserializeMiddlewareFunc("KeepDocument", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		response, ok := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !ok || response.StatusCode != http.StatusOK {
			return out, metadata, err
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, mostDocument+1))
		_ = response.Body.Close()
		if err == nil && len(body) > mostDocument {
			err = fmt.Errorf("the answer has more than %d bytes", mostDocument)
		}
		if err != nil {
			return out, metadata, &smithy.DeserializationError{Err: err}
		}
		*document, response.Body = body, io.NopCloser(bytes.NewReader(body))
		return out, metadata, nil
	})
}

const mostDocument = 8 << 20

// sendDocument sends these bytes in place of what the SDK has made of its types.
// It comes before the request is signed.
func sendDocument(document []byte) middleware.SerializeMiddleware {
	return middleware.SerializeMiddlewareFunc("SendDocument", func(
		ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler,
	) (middleware.SerializeOutput, middleware.Metadata, error) {
		request, ok := in.Request.(*smithyhttp.Request)
		if !ok {
			return middleware.SerializeOutput{}, middleware.Metadata{}, fmt.Errorf("unknown transport %T", in.Request)
		}
		request, err := request.SetStream(bytes.NewReader(document))
		if err != nil {
			return middleware.SerializeOutput{}, middleware.Metadata{}, &smithy.SerializationError{Err: err}
		}
		in.Request = request
		return next.HandleSerialize(ctx, in)
	})
}

// update changes the viewer certificate of a distribution and nothing else.
// change gives the new element, and false if there is nothing to change. If
// somebody else was faster it is asked again, with what there is then.
func (c *cloud) update(ctx context.Context, id string, change func(viewer) (viewer, bool)) (changed bool, err error) {
	err = c.eventually(ctx, c.patience.settle, func() (bool, error) {
		d, err := c.distribution(ctx, id)
		if err != nil {
			return false, err
		}
		before, err := viewerOf(d.document)
		if err != nil {
			return false, fmt.Errorf("read the configuration of the distribution %s: %w", id, err)
		}
		after, different := change(before)
		if !different {
			return false, nil
		}
		document, err := withViewer(d.document, after)
		if err != nil {
			return false, fmt.Errorf("edit the configuration of the distribution %s: %w", id, err)
		}
		_, err = c.cloudfront.UpdateDistribution(ctx,
			&cloudfront.UpdateDistributionInput{Id: aws.String(id), IfMatch: aws.String(d.etag), DistributionConfig: d.typed},
			cloudfront.WithAPIOptions(func(s *middleware.Stack) error {
				return s.Serialize.Insert(sendDocument(document), "OperationSerializer", middleware.After)
			}))
		if err != nil {
			// The last: a new certificate takes a moment until CloudFront knows it.
			again := is(err, "PreconditionFailed", "InvalidIfMatchVersion", "InvalidViewerCertificate") || statusOf(err) == http.StatusPreconditionFailed
			return again, failure(err, "change the viewer certificate of the distribution %s", id)
		}
		changed = true
		return false, nil
	})
	return changed, err
}

// deployed says whether all of CloudFront's servers have the configuration.
func (c *cloud) deployed(ctx context.Context, id string) (bool, error) {
	out, err := c.cloudfront.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: aws.String(id)})
	if err != nil {
		return false, failure(err, "read the status of the distribution %s", id)
	}
	return out.Distribution != nil && aws.ToString(out.Distribution.Status) == "Deployed", nil
}
