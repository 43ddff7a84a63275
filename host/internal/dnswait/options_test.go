package dnswait

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	for want, o := range map[string]Options{
		"dns.port -1":                  {Port: -1},
		"dns.port 65536":               {Port: 65536},
		"dns.timeout -1s is negative":  {Timeout: -time.Second},
		"dns.interval -1s is negative": {Interval: -time.Second},
		`"127.0.0.1" is not host:port`: {Resolvers: []string{"127.0.0.1"}},
		`"a.test:0" is not host:port`:  {Resolvers: []string{"127.0.0.1:53", "a.test:0"}},
		`":53" is not host:port`:       {Resolvers: []string{":53"}},
		`"[::1]:x" is not host:port`:   {Resolvers: []string{"[::1]:x"}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	f, err := New(Options{})
	if err != nil || f.timeout != 2*time.Minute || f.interval != 2*time.Second || f.port != "53" || f.checks || f.attempt != attempt {
		t.Errorf("defaults: %+v, %v", f, err)
	}
	f, err = New(Options{Resolvers: []string{"[::1]:53"}, Timeout: time.Second})
	if err != nil || !f.checks || f.attempt != 100*time.Millisecond {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestSystemResolvers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if got := system(path); got != nil {
		t.Errorf("of no file: %q", got)
	}
	if err := os.WriteFile(path, []byte("search a.test\nnameserver 192.0.2.53\n# x\nnameserver 2001:db8::53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := system(path); !slices.Equal(got, []string{"192.0.2.53:53", "[2001:db8::53]:53"}) {
		t.Errorf("%q", got)
	}
}
