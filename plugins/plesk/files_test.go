package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// standIn writes an executable that does of filemng what is asked of it, for
// one user, and tells in a file beside it what that was.
func standIn(t *testing.T, users ...string) string {
	t.Helper()
	path := filepath.Join(vhosts(t), "filemng")
	must(t, os.WriteFile(path, fmt.Appendf(nil, `#!/bin/sh
user=$1; command=$2; shift 2
case " %s " in *" $user "*) ;; *) echo "filemng: unknown user $user" >&2; exit 1 ;; esac
case $command in
mkdir) [ "$1" = -p ] && exec mkdir -p "$2" ;;
cp2perm) cp "$1" "$2" && exec chmod "$3" "$2" ;;
rm) exec rm "$1" ;;
rmdir) exec rmdir "$1" ;;
esac
echo "filemng: cannot $command $*" >&2
exit 1
`, strings.Join(users, " ")), 0o755))
	return path
}

func challenge(name, token string) sdk.Challenge {
	return sdk.Challenge{
		ID: name + "/" + token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name}, Token: token,
		HTTP: &sdk.HTTPChallenge{Path: "/.well-known/acme-challenge/" + token, Body: []byte(token + ".thumbprint")},
	}
}

func outcomeOf(err error, r *recorder, challenges []sdk.Challenge) error {
	for _, result := range r.results {
		err = errors.Join(err, result.Err)
	}
	if err == nil && len(r.results) != len(challenges) {
		return fmt.Errorf("%d results for %d challenges", len(r.results), len(challenges))
	}
	return err
}

// perform gives the first error, of the call or of a challenge.
func perform(t *testing.T, p *plesk, challenges ...sdk.Challenge) error {
	t.Helper()
	r := &recorder{}
	return outcomeOf(p.Perform(t.Context(), challenges, r), r, challenges)
}

func cleanup(t *testing.T, p *plesk, challenges ...sdk.Challenge) error {
	t.Helper()
	r := &recorder{}
	return outcomeOf(p.Cleanup(t.Context(), challenges, r), r, challenges)
}

// tree is all that is in a directory, with modes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s %s", strings.TrimPrefix(path, dir), info.Mode())
		if e.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %q", text)
		}
		out.WriteString("\n")
		return nil
	}))
	return out.String()
}

// asked asks the web server of the sites, as a CA does.
func asked(t *testing.T, f *fakePlesk, c sdk.Challenge) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.web.URL+c.HTTP.Path, nil)
	must(t, err)
	req.Host = c.Identifier.Value
	resp, err := f.web.Client().Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	must(t, err)
	return body.String()
}

func TestFiles(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	f.add(t, "b.test", "b.test")
	s := f.settings(t)
	s.Filemng = standIn(t, "u-a.test", "u-b.test")
	before := tree(t, vhosts(t))
	state := t.TempDir()
	p := configured(t, s, state)
	a, www, b := challenge("a.test", "one"), challenge("www.a.test", "two"), challenge("b.test", "three")
	must(t, perform(t, p, a, www, b))
	must(t, perform(t, p, a)) // again
	for _, c := range []sdk.Challenge{a, www, b} {
		if got := asked(t, f, c); got != string(c.HTTP.Body) {
			t.Errorf("%s is answered by %q", c.ID, got)
		}
	}
	must(t, cleanup(t, p, a))
	if got := asked(t, f, www); got != "two.thumbprint" {
		t.Errorf("the other challenge is answered by %q", got)
	}
	// A new process, and no state directory of before.
	for range 2 {
		must(t, cleanup(t, configured(t, s, t.TempDir()), a, www, b))
	}
	if after := tree(t, vhosts(t)); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if left, err := filepath.Glob(filepath.Join(state, "file-*")); err != nil || len(left) > 0 {
		t.Errorf("copies are left: %q (%v)", left, err)
	}
}

func TestFilesOfOthersStay(t *testing.T) {
	f := newFake(t, nil)
	root := f.add(t, "a.test", "a.test").properties["www_root"]
	s := f.settings(t)
	s.Filemng = standIn(t, "u-a.test")
	dir := filepath.Join(root, levels[1])
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, ".htaccess"), []byte("Satisfy any\n# mine\n"), 0o644))
	before := tree(t, root)
	p := configured(t, s, t.TempDir())
	c := challenge("a.test", "one")
	r := &recorder{}
	must(t, p.Perform(t.Context(), []sdk.Challenge{c}, r))
	if len(r.progress) == 0 || !strings.Contains(r.progress[0], "stays as it is") {
		t.Errorf("nobody is told: %q", r.progress)
	}
	if got := asked(t, f, c); got != "one.thumbprint" {
		t.Errorf("served is %q", got)
	}
	must(t, cleanup(t, p, c))
	if after := tree(t, root); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

func TestFilesThatCannotBe(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	f.add(t, "mail.test", "mail.test").properties = nil
	s := f.settings(t)
	s.Filemng = standIn(t, "nobody-here")
	for name, c := range map[string]struct {
		challenge sdk.Challenge
		change    func(*settings)
		code      sdk.Code
		say       []string
	}{
		"no such site":    {challenge("none.test", "t"), func(*settings) {}, sdk.NotFound, []string{"none.test", "1013"}},
		"without hosting": {challenge("mail.test", "t"), func(*settings) {}, sdk.NotFound, []string{"without hosting", "dns-01"}},
		"refused":         {challenge("a.test", "t"), func(*settings) {}, sdk.PermissionDenied, []string{"filemng u-a.test mkdir -p", "unknown user u-a.test"}},
		"no filemng":      {challenge("a.test", "t"), func(s *settings) { s.Filemng += ".none" }, sdk.NotInstalled, []string{"set filemng"}},
		"not set":         {challenge("a.test", "t"), func(s *settings) { s.Filemng = "" }, sdk.InvalidConfig, []string{"filemng is missing"}},
		"no token":        {challenge("a.test", "../x"), func(*settings) {}, sdk.Unsupported, []string{"base64url"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s
			c.change(&s)
			wantProblem(t, perform(t, configured(t, s, t.TempDir()), c.challenge), c.code, c.say...)
		})
	}
}

// What the site's user has linked elsewhere is not read.
func TestLinksAreNotFollowed(t *testing.T) {
	f := newFake(t, nil)
	root := f.add(t, "a.test", "a.test").properties["www_root"]
	s := f.settings(t)
	s.Filemng = standIn(t, "u-a.test")
	must(t, os.MkdirAll(filepath.Join(root, levels[1]), 0o755))
	must(t, os.Symlink("/etc/hostname", filepath.Join(root, levels[1], ".htaccess")))
	err := perform(t, configured(t, s, t.TempDir()), challenge("a.test", "t"))
	if err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("the error is %v", err)
	}
}
