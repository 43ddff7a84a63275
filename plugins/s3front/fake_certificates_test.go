package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// stored is a certificate in ACM or IAM.
type stored struct {
	material
	owner *account
	leaf  *x509.Certificate
	kind  string
	// path and number are IAM's.
	path, number string
}

// newStored checks what both services check.
func newStored(owner *account, m material) (*stored, *refusal) {
	bad := func(format string, args ...any) (*stored, *refusal) {
		return nil, &refusal{http.StatusBadRequest, "ValidationException", fmt.Sprintf(format, args...)}
	}
	if block, rest := pem.Decode([]byte(m.Leaf)); block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return bad("the certificate field contains more than one certificate, or none")
	}
	pair, err := tls.X509KeyPair([]byte(m.Leaf), []byte(m.Key))
	if err != nil {
		return bad("The private key does not match the certificate: %v", err)
	}
	if len(m.Key) > 5120 {
		return bad("the private key is too long")
	}
	if now := time.Now(); now.Before(pair.Leaf.NotBefore) || now.After(pair.Leaf.NotAfter) {
		return bad("The certificate is not in its validity period")
	}
	found := false
	for block, rest := pem.Decode([]byte(m.Chain)); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		found = found || err == nil && pair.Leaf.CheckSignatureFrom(c) == nil
	}
	if !found {
		return bad("Could not validate the certificate with the certificate chain.")
	}
	return &stored{material: m, owner: owner, leaf: pair.Leaf, kind: fmt.Sprintf("%s-%d", pair.Leaf.PublicKeyAlgorithm, len(m.Key)/800)}, nil
}

// acmCertificates and iamCertificates list what is there, sorted.
func (f *fake) acmCertificates() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.acm))
}

func (f *fake) iamCertificates() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.iam))
}

func (f *fake) serveACM(w http.ResponseWriter, operation string, who signed, body []byte) *refusal {
	var in struct {
		CertificateArn                            string
		Certificate, PrivateKey, CertificateChain []byte
		Includes                                  struct {
			KeyTypes []string `json:"keyTypes"`
		}
		NextToken string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return &refusal{http.StatusBadRequest, "SerializationException", err.Error()}
	}
	there := f.acm[in.CertificateArn]
	if in.CertificateArn != "" && (there == nil || there.owner != who.account) {
		return &refusal{http.StatusBadRequest, "ResourceNotFoundException", "Could not find certificate " + in.CertificateArn + "."}
	}
	answer := map[string]any{}
	switch operation {
	case "ImportCertificate":
		s, wrong := newStored(who.account, material{string(in.Certificate), string(in.CertificateChain), string(in.PrivateKey)})
		switch {
		case wrong != nil:
			return wrong
		case there != nil && there.kind != s.kind:
			return &refusal{http.StatusBadRequest, "ValidationException", "The key type and size cannot be changed."}
		case there != nil:
			*there = *s
		default:
			in.CertificateArn = "arn:aws:acm:us-east-1:" + who.id + ":certificate/" + strings.ToLower(rand.Text()[:12])
			f.acm[in.CertificateArn] = s
		}
		answer["CertificateArn"] = in.CertificateArn
	case "GetCertificate":
		answer["Certificate"], answer["CertificateChain"] = there.Leaf, there.Chain
	case "DeleteCertificate":
		if f.inUse(there) {
			return &refusal{http.StatusBadRequest, "ResourceInUseException", "Certificate is in use."}
		}
		delete(f.acm, in.CertificateArn)
	case "ListCertificates":
		// One on a page, and without Includes none of ours: they have EC keys.
		list, all := []any{}, slices.Sorted(maps.Keys(f.acm))
		at := slices.Index(all, in.NextToken) + 1
		if len(in.Includes.KeyTypes) > 0 && at < len(all) {
			list = append(list, map[string]any{"CertificateArn": all[at], "Type": "IMPORTED", "InUse": f.inUse(f.acm[all[at]])})
			if at+1 < len(all) {
				answer["NextToken"] = all[at]
			}
		}
		answer["CertificateSummaryList"] = list
	default:
		return &refusal{http.StatusBadRequest, "UnknownOperationException", operation}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		f.t.Error(err)
	}
	return nil
}

func formOf(body []byte) url.Values {
	values, _ := url.ParseQuery(string(body))
	return values
}

func (f *fake) serveIAM(w http.ResponseWriter, operation string, who signed, body []byte) *refusal {
	in := formOf(body)
	name := in.Get("ServerCertificateName")
	there := f.iam[name]
	if there != nil && there.owner != who.account {
		there = nil
	}
	missing := &refusal{http.StatusNotFound, "NoSuchEntity", "The Server Certificate with name " + name + " cannot be found."}
	var result string
	switch {
	case in.Get("Version") != "2010-05-08":
		return &refusal{http.StatusBadRequest, "InvalidAction", "Could not find operation for version " + in.Get("Version")}
	case operation == "UploadServerCertificate":
		if there != nil {
			return &refusal{http.StatusConflict, "EntityAlreadyExists", "The Server Certificate with name " + name + " already exists."}
		}
		s, wrong := newStored(who.account, material{in.Get("CertificateBody"), in.Get("CertificateChain"), in.Get("PrivateKey")})
		if wrong != nil {
			return &refusal{http.StatusBadRequest, "MalformedCertificate", wrong.message}
		}
		s.path, s.number = in.Get("Path"), "ASCA"+rand.Text()[:17]
		f.iam[name] = s
		result = s.metadata(name)
	case there == nil:
		return missing
	case operation == "GetServerCertificate":
		result = "<ServerCertificate>" + there.metadata(name) + "<CertificateBody>" + escape(there.Leaf) + "</CertificateBody></ServerCertificate>"
	case operation == "DeleteServerCertificate":
		if f.inUse(there) {
			return &refusal{http.StatusConflict, "DeleteConflict", "Certificate: " + there.number + " is currently in use."}
		}
		delete(f.iam, name)
	default:
		return &refusal{http.StatusBadRequest, "InvalidAction", operation}
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, fmt.Sprintf(`<%[1]sResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><%[1]sResult>%[2]s</%[1]sResult>`+
		`<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></%[1]sResponse>`, operation, result))
	return nil
}

func (s *stored) metadata(name string) string {
	return "<ServerCertificateMetadata><Path>" + s.path + "</Path><ServerCertificateName>" + name + "</ServerCertificateName><Arn>arn:aws:iam::" + s.owner.id +
		":server-certificate" + s.path + name + "</Arn><ServerCertificateId>" + s.number + "</ServerCertificateId></ServerCertificateMetadata>"
}
