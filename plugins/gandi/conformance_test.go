package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, by all of its ways at once.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-gandi")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ca, err := testca.Start(t.Context(), testca.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, ca.Close()) })
	dns, api, files := newFakeDNS(t, ca.DNS()), newFakeRPC(t), startSSH(t, t.TempDir())
	records := dns.account(bearer, "plugincheck.test")
	api.paas = map[string]any{"id": 1, "name": "shop", "type": "php", "vhosts": []any{map[string]any{"name": "a.plugincheck.test"}}}
	root := mkdirs(t, files.dir, "vhosts/default/htdocs")
	s := files.settings()
	plugintest.Run(t, plugintest.Suite{
		Binary: binary,
		Settings: map[string]any{
			"endpoint": "{via " + dns.endpoint() + "}", "rpc_endpoint": "{via " + api.endpoint() + "}", "vhost": "default", "instance": "shop",
			"sftp_server": s.SFTPServer, "sftp_user": s.SFTPUser, "instance_type": s.InstanceType, "host_key": s.HostKey,
		},
		Secrets:     map[string][]byte{"token": []byte(goodToken), "api_key": []byte(goodKey), "sftp_key": []byte(s.SFTPKey)},
		WebrootPath: root,
		DNSAddress:  ca.DNS().Addr(),
	})
	if got := dns.everything(records); got != "" {
		t.Errorf("the suite leaves records: %s", got)
	}
	if got := tree(t, root); got != "" {
		t.Errorf("the suite leaves files: %s", got)
	}
}
