package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
)

func TestName(t *testing.T) {
	lineages := map[string]model.Lineage{}
	for name, list := range map[string]string{
		"a.example":      "a.example www.a.example",
		"b.example":      "b.example",
		"b.example-0001": "b.example x.example y.example",
		"s.example":      "s.example",
		"t.example":      "t.example",
	} {
		lineages[name] = model.Lineage{Name: name, Request: request(name, list)}
	}
	for what, tt := range map[string]struct {
		proposed, names string
		certName        bool
		expand          bool
		want            string
		question        string
		refusal         string
	}{
		"new":                     {proposed: "new.example", names: "new.example", want: "new.example"},
		"the same set":            {proposed: "www.a.example", names: "www.a.example a.example", want: "a.example"},
		"a wildcard is no host":   {proposed: "s.example", names: "*.s.example", want: "s.example-0001"},
		"a part of the names":     {proposed: "a.example", names: "a.example", want: "a.example-0001"},
		"two names are taken":     {proposed: "b.example", names: "other.example", want: "b.example-0002"},
		"the same set, other one": {proposed: "y.example", names: "y.example x.example b.example", want: "b.example-0001"},
		"more names": {
			proposed: "new.example", names: "new.example www.a.example a.example z.example", want: "a.example",
			question: "The certificate a.example covers a.example, www.a.example. Replace it by one that also covers new.example, z.example?",
			refusal:  "the certificate a.example covers a part of these names; use --expand to add new.example, z.example to it, or --cert-name for a separate one",
		},
		"more names, agreed": {proposed: "new.example", names: "new.example www.a.example a.example", expand: true, want: "a.example"},
		"more than two have: the first by name": {
			proposed: "t.example", names: "t.example s.example", expand: true, want: "s.example",
		},
		"--cert-name, new":      {proposed: "mine", names: "a.example www.a.example", certName: true, want: "mine"},
		"--cert-name, the same": {proposed: "a.example", names: "www.a.example a.example", certName: true, want: "a.example"},
		"--cert-name, no names": {proposed: "a.example", certName: true, want: "a.example"},
		"--cert-name, others": {
			proposed: "a.example", names: "a.example c.example", certName: true, want: "a.example",
			question: "The certificate a.example covers other names. Change them (+c.example -www.a.example)?",
			refusal:  "the certificate a.example covers other names (+c.example -www.a.example); run without -n to confirm the change, or use another --cert-name",
		},
		"--cert-name, others, --expand does not take names away": {
			proposed: "a.example", names: "a.example c.example", certName: true, expand: true, want: "a.example",
			question: "The certificate a.example covers other names. Change them (+c.example -www.a.example)?",
			refusal:  "the certificate a.example covers other names (+c.example -www.a.example); run without -n to confirm the change, or use another --cert-name",
		},
		"--cert-name, more": {
			proposed: "b.example", names: "b.example c.example", certName: true, want: "b.example",
			question: "The certificate b.example covers other names. Change them (+c.example)?",
			refusal:  "the certificate b.example covers other names (+c.example); run without -n to confirm the change, or use another --cert-name",
		},
		"--cert-name, more, agreed": {proposed: "b.example", names: "b.example c.example", certName: true, expand: true, want: "b.example"},
	} {
		for range 3 { // maps are walked in another order each time
			r := request(tt.proposed, tt.names)
			got := Name(Naming{Request: r, CertName: tt.certName, Expand: tt.expand}, lineages)
			r.Name = tt.want
			if diff := cmp.Diff(Choice{Request: r, Question: tt.question, Refusal: tt.refusal}, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
	}
}
