package main

import (
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, with both stores.
func TestConformance(t *testing.T) {
	binary := built(t)
	for _, store := range []string{inACM, inIAM} {
		t.Run(store, func(t *testing.T) {
			cloud := start(t)
			who := cloud.open("session")
			cloud.bucket("site", who)
			cloud.names("site", "*")
			cloud.distribution("E1", who, documentOf(byDefaultXML, "a.plugincheck.test", "www.a.plugincheck.test"))
			endpoint := cloud.url
			if store == inACM { // one is enough to see how failures are taken
				endpoint = "{via " + cloud.url + "}"
			}
			plugintest.Run(t, plugintest.Suite{
				Binary: binary,
				Settings: map[string]any{
					"bucket": "site", "distributions": []string{"E1"}, "endpoint": endpoint, "store": store,
				},
				Secrets: map[string][]byte{
					"access_key_id": []byte(who.key), "secret_access_key": []byte(who.secret), "session_token": []byte(who.token),
				},
				HTTPAddress: net.JoinHostPort("127.0.0.1", strconv.Itoa(cloud.site)),
			})
			equal(t, map[string]object{}, cloud.objects("site"))
		})
	}
}

func built(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "certwright-plugin-s3front")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}
