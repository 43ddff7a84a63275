package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/certwright/certwright/sdk"
)

// Stores of certificates that CloudFront takes them from.
const (
	inACM = "acm"
	inIAM = "iam"
)

// place brings a certificate into its store, if it is not there, and says how a
// distribution names it. It may be repeated.
func (f *front) place(ctx context.Context, lineage string, m material) (source, error) {
	if f.settings.Store == inIAM {
		return f.placeInIAM(ctx, lineage, m)
	}
	return f.placeInACM(ctx, lineage, m)
}

// placeInACM prefers a certificate that there is: its ARN stays, so that no
// distribution has to be changed.
func (f *front) placeInACM(ctx context.Context, lineage string, m material) (source, error) {
	kind, err := m.kind()
	if err != nil {
		return source{}, err
	}
	all, err := f.book.made(lineage)
	if err != nil {
		return source{}, err
	}
	// The current one first.
	slices.SortStableFunc(all, func(a, b made) int {
		switch {
		case a.Current == b.Current:
			return 0
		case a.Current:
			return -1
		}
		return 1
	})
	for _, one := range all {
		if one.Store != inACM || one.Kind != kind {
			continue
		}
		switch there, err := f.cloud.inACM(ctx, one.ID); {
		case gone(err):
			if err := f.book.drop(lineage, one); err != nil {
				return source{}, err
			}
			continue
		case err != nil:
			return source{}, failure(err, "read the certificate %s in ACM", one.ID)
		case !there.equal(m):
			f.step("import " + one.ID)
			if err := f.cloud.reimport(ctx, one.ID, m); is(err, "ValidationException", "InvalidParameterException") {
				continue // AWS does not take this one in the place of that one
			} else if err != nil {
				return source{}, failure(err, "import the certificate into ACM as %s", one.ID)
			}
		}
		one.Current = true
		return source{byACM, one.ID}, f.book.add(lineage, one)
	}
	arn, err := f.importNew(ctx, lineage, m)
	if err != nil {
		return source{}, err
	}
	f.step("imported " + arn)
	if err := f.book.add(lineage, made{Store: inACM, ID: arn, Kind: kind, Current: true}); err != nil {
		return source{}, err
	}
	return source{byACM, arn}, f.book.end(lineage, m.print())
}

// importNew imports under a new ARN. Nothing tells AWS that a second request is
// the same as the first, so what may have been imported, by a request whose
// answer was lost or by a run that was killed before it could note the ARN, is
// looked for by its content.
func (f *front) importNew(ctx context.Context, lineage string, m material) (arn string, err error) {
	begun, err := f.book.importing(lineage)
	if err != nil {
		return "", err
	}
	unsure := slices.Contains(begun, m.print())
	if err := f.book.begin(lineage, m.print()); err != nil {
		return "", err
	}
	err = f.cloud.eventually(ctx, f.patience.settle, func() (again bool, err error) {
		if unsure {
			if arn, err = f.cloud.searchACM(ctx, m.equal); err != nil || arn != "" {
				return false, failure(err, "look in ACM for what was imported already")
			}
		}
		f.step("import")
		out, err := f.cloud.acm.ImportCertificate(ctx, &acm.ImportCertificateInput{
			Certificate: []byte(m.Leaf), PrivateKey: []byte(m.Key), CertificateChain: chainOf(m),
		}, func(o *acm.Options) { o.Retryer = aws.NopRetryer{} })
		if err != nil {
			err = failure(err, "import the certificate into ACM")
			unsure = true
			return sdk.ProblemOf(err).Retry == sdk.RetryLater, err
		}
		arn = aws.ToString(out.CertificateArn)
		return false, nil
	})
	return arn, err
}

func (c *cloud) reimport(ctx context.Context, arn string, m material) error {
	_, err := c.acm.ImportCertificate(ctx, &acm.ImportCertificateInput{
		CertificateArn: aws.String(arn), Certificate: []byte(m.Leaf), PrivateKey: []byte(m.Key), CertificateChain: chainOf(m),
	})
	return err
}

// chainOf is nil if there is none: ACM takes no empty one.
func chainOf(m material) []byte {
	if m.Chain == "" {
		return nil
	}
	return []byte(m.Chain)
}

// inACM gives what is under an ARN. The error is the SDK's.
func (c *cloud) inACM(ctx context.Context, arn string) (material, error) {
	out, err := c.acm.GetCertificate(ctx, &acm.GetCertificateInput{CertificateArn: aws.String(arn)})
	if err != nil {
		return material{}, err
	}
	return material{Leaf: aws.ToString(out.Certificate), Chain: aws.ToString(out.CertificateChain)}, nil
}

// equal compares certificate and chain; a key is never given back.
func (m material) equal(other material) bool {
	return bytes.Equal(blocks(m.Leaf), blocks(other.Leaf)) && bytes.Equal(blocks(m.Chain), blocks(other.Chain))
}

// blocks is what is in a PEM text, whatever its line ends are.
func blocks(text string) []byte {
	var out []byte
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		out = append(out, block.Bytes...)
	}
	return out
}

// lost looks for what was imported by a process that was killed before it could
// note the ARN, when another certificate is wanted by now: it is to be deleted.
func (f *front) lost(ctx context.Context, lineage string, r sdk.Reporter) error {
	begun, err := f.book.importing(lineage)
	if err != nil {
		return err
	}
	for _, leaf := range begun {
		arn, err := f.cloud.searchACM(ctx, func(there material) bool { return there.print() == leaf })
		if err != nil {
			return failure(err, "look in ACM for what was imported and is not known")
		}
		if arn != "" {
			if err := f.book.add(lineage, made{Store: inACM, ID: arn}); err != nil {
				return err
			}
			r.Progress("", "found in ACM what an interrupted import has left: "+arn)
		}
		if err := f.book.end(lineage, leaf); err != nil {
			return err
		}
	}
	return nil
}

// searchACM looks for an imported certificate by its content. What something
// uses is somebody else's: nobody knows the ARN of what is looked for. Without
// Includes ACM lists only those with RSA keys of 1024 and 2048 bits.
func (c *cloud) searchACM(ctx context.Context, wanted func(material) bool) (string, error) {
	pages := acm.NewListCertificatesPaginator(c.acm, &acm.ListCertificatesInput{
		Includes: &acmtypes.Filters{KeyTypes: acmtypes.KeyAlgorithm("").Values()},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, s := range page.CertificateSummaryList {
			if s.Type != acmtypes.CertificateTypeImported || aws.ToBool(s.InUse) {
				continue
			}
			there, err := c.inACM(ctx, aws.ToString(s.CertificateArn))
			if err != nil && !gone(err) {
				return "", err
			}
			if err == nil && wanted(there) {
				return aws.ToString(s.CertificateArn), nil
			}
		}
	}
	return "", nil
}

// placeInIAM uploads under a name that is made of the certificate: there is no
// second one of it, and a run that was killed finds it again.
func (f *front) placeInIAM(ctx context.Context, lineage string, m material) (source, error) {
	kind, err := m.kind()
	if err != nil {
		return source{}, err
	}
	one := made{Store: inIAM, ID: iamName(lineage, m), Kind: kind}
	if err := f.book.add(lineage, one); err != nil { // before it is there
		return source{}, err
	}
	id, err := f.cloud.inIAM(ctx, one.ID)
	if gone(err) {
		f.step("upload " + one.ID)
		id, err = f.cloud.uploadToIAM(ctx, one.ID, m)
		if is(err, "EntityAlreadyExists") {
			id, err = f.cloud.inIAM(ctx, one.ID)
		}
	}
	if err != nil {
		return source{}, failure(err, "upload the certificate to IAM as %s", one.ID)
	}
	one.Number, one.Current = id, true
	return source{byIAM, id}, f.book.add(lineage, one)
}

// iamName is unique for the certificate; at most 128 characters of [\w+=,.@-].
func iamName(lineage string, m material) string {
	if len(lineage) > 80 {
		lineage = lineage[:80]
	}
	return fmt.Sprintf("certwright-%s-%.24s", lineage, m.print())
}

// iamPath is where CloudFront looks for certificates in IAM.
const iamPath = "/cloudfront/certwright/"

func (c *cloud) inIAM(ctx context.Context, name string) (id string, err error) {
	out, err := c.iam.GetServerCertificate(ctx, &iam.GetServerCertificateInput{ServerCertificateName: aws.String(name)})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ServerCertificate.ServerCertificateMetadata.ServerCertificateId), nil
}

func (c *cloud) uploadToIAM(ctx context.Context, name string, m material) (id string, err error) {
	in := &iam.UploadServerCertificateInput{
		Path: aws.String(iamPath), ServerCertificateName: aws.String(name),
		CertificateBody: aws.String(m.Leaf), PrivateKey: aws.String(m.Key),
	}
	if m.Chain != "" {
		in.CertificateChain = aws.String(m.Chain)
	}
	out, err := c.iam.UploadServerCertificate(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ServerCertificateMetadata.ServerCertificateId), nil
}

// discard deletes a certificate. inUse: something serves it still.
func (c *cloud) discard(ctx context.Context, m made) (inUse bool, err error) {
	if m.Store == inIAM {
		_, err = c.iam.DeleteServerCertificate(ctx, &iam.DeleteServerCertificateInput{ServerCertificateName: aws.String(m.ID)})
	} else {
		_, err = c.acm.DeleteCertificate(ctx, &acm.DeleteCertificateInput{CertificateArn: aws.String(m.ID)})
	}
	switch {
	case gone(err):
		return false, nil
	case is(err, "ResourceInUseException", "DeleteConflict", "DeleteConflictException", "ConflictException"):
		return true, nil
	}
	return false, failure(err, "delete the certificate %s", m.ID)
}
