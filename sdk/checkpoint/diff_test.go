package checkpoint

import (
	"encoding/pem"
	"strings"
	"testing"
)

func blocks(kinds ...string) []byte {
	var out []byte
	for _, kind := range kinds {
		name, content, _ := strings.Cut(kind, "=")
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: name, Bytes: []byte(content)})...)
	}
	return out
}

// TestDiffPEM: what is public is shown, and of the rest only that it is another.
func TestDiffPEM(t *testing.T) {
	const cert, other, key, dh = "CERTIFICATE=one", "CERTIFICATE=two", "PRIVATE KEY=secret", "DH PARAMETERS=p"
	line := func(kind string) string { return strings.Split(string(blocks(kind)), "\n")[1] }
	for name, c := range map[string]struct {
		was, is []byte
		want    []string
		without string
	}{
		"new":          {nil, blocks(key, cert), []string{"--- /dev/null\n", "+" + line(cert), "private key: added"}, ""},
		"another key":  {blocks(key, cert), blocks("PRIVATE KEY=x", cert), []string{"--- f\n+++ f\n", "private key: changed"}, "@@"},
		"renewed":      {blocks(key, cert), blocks(key, other), []string{"-" + line(cert), "+" + line(other)}, "private key"},
		"key is gone":  {blocks(key, cert), blocks(cert), []string{"private key: removed"}, "@@"},
		"a comment":    {blocks(cert), append([]byte("# x\n"), blocks(cert)...), []string{"changed outside of certificates and keys"}, "# x"},
		"parameters":   {blocks(cert), blocks(cert, dh), []string{"+" + line(dh)}, "private key"},
		"the same":     {blocks(key, cert), blocks(key, cert), []string{"--- f\n+++ f\n"}, "changed"},
		"a new key":    {nil, blocks(key), []string{"--- /dev/null\n+++ f\n", "private key: added"}, "@@"},
		"no PEM there": {[]byte("secret"), blocks(cert), []string{"+" + line(cert)}, "-secret"},
	} {
		t.Run(name, func(t *testing.T) {
			got := DiffPEM("f", c.was, c.is)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in\n%s", want, got)
				}
			}
			if c.without != "" && strings.Contains(got, c.without) || strings.Contains(got, line(key)) {
				t.Errorf("too much is said:\n%s", got)
			}
		})
	}
}
