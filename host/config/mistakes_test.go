package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every mistake is reported with file, line and column; DIR stands for the
// configuration directory.
func TestMistakes(t *testing.T) {
	const ok = ", authenticate: [{with: [web]}]"
	for name, tt := range map[string]struct {
		files map[string]string // the main file has the name ""
		want  []string
	}{
		"unknown key":      {one("emial: a@b\n"), []string{`1:1: the configuration has no key "emial"; it has accounts, agree_tos, allow_post_hook_failure, allow_pre_hook_failure, allow_success_hook_failure, ca_bundle, certificates, dns, email, hooks, ignore_post_hook_failure, ignore_pre_hook_failure, ignore_success_hook_failure, instances, key_type, server, state_dir`}},
		"another spelling": {one("dns: {skip: true}\nKeyType: p256\n"), []string{`2:1: the configuration has no key "KeyType"; did you mean "key_type"?`}},
		"missing s":        {one("certificate: []\n"), []string{`1:1: the configuration has no key "certificate"; did you mean "certificates"?`}},
		"tab":              {one("dns:\n\tskip: true\n"), []string{`2:1: a tab stands here: YAML is indented with spaces, tabs are not allowed`}},
		"challenge type":   {one("certificates: [{names: [a.example], preferred_challenges: [http, foo]" + ok + "}]\n"), []string{`1:66: challenge type "foo" is none of http, dns, tls-alpn`}},
		"deep unknown key": {one("instances:\n  - name: a\n    setting: {}\n"), []string{`3:5: an instance has no key "setting"; did you mean "settings"?`}},
		"duplicate key":    {one("email: a@b\nemail: c@d\n"), []string{`2:1: the key "email" stands twice`}},
		"duplicate setting": {
			one("instances:\n  - name: a\n    settings:\n      x: 1\n      x: 2\n"),
			[]string{`5:7: the key "x" stands twice`},
		},
		"not a string":    {one("email: 7\n"), []string{`1:8: email wants a string, not "7"`}},
		"not a bool":      {one("agree_tos: ja\n"), []string{`1:12: agree_tos wants true or false, not "ja"`}},
		"not a list":      {one("instances: {a: b}\n"), []string{`1:12: instances wants a list, not keys and values`}},
		"not a map":       {one("instances:\n  - a\n"), []string{`2:5: an instance wants keys and values, not "a"`, `2:5: an instance wants a name of lower-case letters`}},
		"not a number":    {one("dns: {port: many}\n"), []string{`1:13: port wants a whole number, not "many"`}},
		"not a duration":  {one("dns: {timeout: 5}\n"), []string{`1:16: timeout wants a duration such as 90s or 2m, not "5"`}},
		"negative":        {one("instances: [{name: a, timeout: -1s}]\n"), []string{`1:32: timeout wants a duration such as 90s or 2m, not "-1s"`}},
		"list in a list":  {one("certificates: [{names: [[a.example]]" + ok + "}]\n"), []string{`1:25: names wants a string, not a list`}},
		"settings no map": {one("instances: [{name: a, settings: [b]}]\n"), []string{`1:33: settings wants keys and values, not a list`}},
		"top is a list":   {one("- email: a@b\n"), []string{`1:1: the configuration wants keys and values, not a list`}},
		"null string":     {one("email:\nserver: letsencrypt\n"), []string{`1:7: email wants a string, not nothing`}},
		"bad server":      {one("server: http://ca.example/dir\n"), []string{`1:9: server "http://ca.example/dir" is neither letsencrypt, letsencrypt-staging nor an https directory URL`}},
		"bad email":       {one("email: me\n"), []string{`1:8: email "me" is not an address`}},
		"bad key type":    {one("\nkey_type: dsa\n"), []string{`2:11: key type "dsa" is not one of p256, p384, rsa2048, rsa3072, rsa4096`}},
		"key type of one": {one("certificates:\n  - names: [a.example]\n    key_type: P256\n    authenticate: [{with: [web]}]\n"), []string{`3:15: key type "P256" is not one of`}},
		"server of one":   {one("certificates: [{names: [a.example], server: ca" + ok + "}]\n"), []string{`1:45: server "ca" is neither`}},
		"no names":        {one("certificates:\n  - {name: a" + ok + "}\n"), []string{`2:5: a certificate wants names`}},
		"no authenticate": {one("certificates:\n  - names: [a.example]\n"), []string{`2:5: a certificate wants authenticate`}},
		"empty rule":      {one("certificates: [{names: [a.example], authenticate: [{match: a.example}]}]\n"), []string{`1:52: a rule of authenticate wants with`}},
		"bad match type":  {one("certificates: [{names: [a.example], authenticate: [{match: \"type:mail\", with: [web]}]}]\n"), []string{`1:60: match "type:mail": the types are type:dns and type:ip`}},
		"bad match":       {one("certificates: [{names: [a.example], authenticate: [{match: a b, with: [web]}]}]\n"), []string{`1:60: match: "a b" is not a domain name`}},
		"bad identifier":  {one("certificates: [{names: [\"a b.example\"]" + ok + "}]\n"), []string{`1:16: certificate a b.example: "a b.example" is not a domain name`}},
		"bad name":        {one("certificates: [{name: A/B, names: [a.example]" + ok + "}]\n"), []string{`1:16: the certificate name "A/B" wants lower-case letters`}},
		"unknown account": {one("certificates: [{names: [a.example], account: x" + ok + "}]\n"), []string{`1:16: certificate a.example: there is no account "x"`}},
		"wrong account": {
			one("accounts: [{name: x, server: letsencrypt}]\ncertificates: [{names: [a.example], account: x, server: letsencrypt-staging" + ok + "}]\n"),
			[]string{`2:16: certificate a.example: account x belongs to https://acme-v02.api.letsencrypt.org/directory, not to https://acme-staging-v02`},
		},
		"bad instance in use": {one("certificates: [{names: [a.example], deploy: [Web]" + ok + "}]\n"), []string{`1:16: certificate a.example: an instance wants a name of lower-case letters, digits and dashes that starts with a letter, not "Web"`}},
		"account name":        {one("accounts:\n  - name: Up\n"), []string{`2:5: an account wants a name of lower-case letters, digits, dots, dashes and underscores, not "Up"`}},
		"instance name":       {one("instances: [{name: 1a}]\n"), []string{`1:13: an instance wants a name of lower-case letters, digits and dashes that starts with a letter, not "1a"`}},
		"reserved":            {one("instances: [{name: dns}]\n"), []string{`1:13: the instance name "dns" is reserved`}},
		"secret literal":      {one("accounts: [{name: x, eab: {kid: k, hmac_key: abc}}]\n"), []string{`1:46: hmac_key is a secret and wants a reference: {file: PATH}, {env: NAME}, {command: LINE} or {credential: NAME}`}},
		"secret kind":         {one("accounts: [{name: x, eab: {kid: k, hmac_key: {vault: abc}}}]\n"), []string{`1:46: hmac_key has a reference of the unknown kind "vault": it is a secret`}},
		"secret relative":     {one("accounts: [{name: x, eab: {kid: k, hmac_key: {file: keys/eab}}}]\n"), []string{`1:46: hmac_key names the file "keys/eab", which is not an absolute path`}},
		"half an eab":         {one("accounts: [{name: x, eab: {kid: k}}]\n"), []string{`1:27: eab wants kid and hmac_key`}},
		"no YAML":             {one("email: a@b\n  server: x\n"), []string{`2:1: not YAML: mapping values are not allowed in this context`}},
		"unknown anchor":      {one("email: *x\n"), []string{`1:1: not YAML: unknown anchor 'x' referenced`}},
		"two documents":       {one("email: a@b\n---\nserver: letsencrypt\n"), []string{`the file holds a second document`}},
		"several at once": {
			one("email: 7\ndns: {port: x}\nfoo: 1\n"),
			[]string{`1:8: email`, `2:13: port`, `3:1: the configuration has no key "foo"`},
		},
		"one instance in two files": {
			map[string]string{"": "instances: [{name: a}]\n", "conf.d/b.yaml": "instances:\n  - name: b\n  - name: a\n"},
			[]string{`DIR/conf.d/b.yaml:3:5: the instance "a" is defined at DIR/certwright.yaml:1:13 already`},
		},
		"one account in two files": {
			map[string]string{"conf.d/a.yaml": "accounts: [{name: x}]\n", "conf.d/b.yaml": "accounts: [{name: x}]\n"},
			[]string{`DIR/conf.d/b.yaml:1:12: the account "x" is defined at DIR/conf.d/a.yaml:1:12 already`},
		},
		"one certificate in two files": {
			map[string]string{"": "certificates: [{names: [a.example]" + ok + "}]\n", "conf.d/b.yaml": "certificates: [{name: a.example, names: [b.example]" + ok + "}]\n"},
			[]string{`DIR/conf.d/b.yaml:1:16: the certificate "a.example" is defined at DIR/certwright.yaml:1:16 already`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for file, text := range tt.files {
				if file == "" {
					file = FileName
				}
				files[file] = text
			}
			dir := write(t, files)
			_, err := Load(Sources{ConfigDir: dir})
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(strings.ReplaceAll(err.Error(), dir, "DIR"), "\n")
			if len(lines) != len(tt.want) {
				t.Errorf("got %d errors, want %d", len(lines), len(tt.want))
			}
			for _, want := range tt.want {
				if want[0] >= '0' && want[0] <= '9' {
					want = "DIR/" + FileName + ":" + want
				}
				found := false
				for _, line := range lines {
					found = found || strings.HasPrefix(line, want) || want[0] != 'D' && strings.Contains(line, want)
				}
				if !found {
					t.Errorf("%q\nlacks %q", lines, want)
				}
			}
		})
	}
}

func one(text string) map[string]string { return map[string]string{"": text} }

func TestDirectoryThatIsNotThere(t *testing.T) {
	alone(t)
	dir := filepath.Join(t.TempDir(), "none")
	_, err := Load(Sources{ConfigDir: dir})
	if want := dir + ":1:1: the configuration directory cannot be read: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestFileThatIsADirectory(t *testing.T) {
	dir := write(t, map[string]string{"conf.d/x.yaml/y": ""})
	_, err := Load(Sources{ConfigDir: dir})
	if want := filepath.Join(dir, "conf.d/x.yaml") + ":1:1: cannot be read: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte("email: me@example.com"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Sources{ConfigDir: dir}); err == nil || !strings.Contains(err.Error(), "x.yaml:1:1") {
		t.Errorf("%v", err)
	}
}
