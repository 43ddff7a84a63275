package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// levels lead from a document root to the files (RFC 8555 section 8.3).
var levels = []string{".well-known", ".well-known/acme-challenge"}

// htaccess lets the CA in where the site wants a password, and past its rewrite
// rules. It is for the directory of the challenges alone.
const htaccess = "Satisfy any\n<IfModule mod_rewrite.c>\n    RewriteEngine off\n</IfModule>\n"

// tokenPattern is base64url (RFC 8555 section 8.1): a token names a file in its
// directory and nothing else, and no option of filemng.
var tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

const (
	// outputLimit bounds what is quoted of filemng's output, holdLimit the wait
	// for it after filemng has ended.
	outputLimit = 2 << 10
	holdLimit   = 2 * time.Second
)

// head keeps the beginning of a program's output.
type head struct{ text []byte }

func (h *head) Write(b []byte) (int, error) {
	h.text = append(h.text, b[:min(len(b), outputLimit-len(h.text))]...)
	return len(b), nil
}

func (h *head) words() string { return strings.TrimSpace(strings.ToValidUTF8(string(h.text), "?")) }

// leftovers are files that were handed over by a process that was killed; one
// may hold a key.
var leftovers = []string{"file-*", "panel-*"}

// sweep removes them from the state directory.
func sweep(stateDir string) error {
	for _, pattern := range leftovers {
		found, err := fs.Glob(os.DirFS(stateDir), pattern)
		if err != nil {
			return fmt.Errorf("look for what an earlier process has left: %w", err)
		}
		for _, name := range found {
			if err := os.Remove(filepath.Join(stateDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove what an earlier process has left: %w", err)
			}
		}
	}
	return nil
}

// environment of Plesk's programs.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}

// docroot is where the files of a site go, and who owns them.
type docroot struct{ path, user string }

// eachFile does it for one challenge after the other.
func (p *plesk) eachFile(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter,
	do func(context.Context, docroot, sdk.Challenge, sdk.Reporter) error,
) error {
	if len(challenges) == 0 {
		return nil
	}
	if err := p.files.enter(ctx); err != nil {
		return err
	}
	defer p.files.leave()
	for _, c := range challenges {
		root, err := p.docroot(ctx, c)
		if err == nil {
			err = do(ctx, root, c, r)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(err, c.ID)})
	}
	return nil
}

func (p *plesk) docroot(ctx context.Context, c sdk.Challenge) (docroot, error) {
	if p.settings.Filemng == "" {
		err := sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "http-01 for %s: the setting filemng is missing", c.Identifier))
		return docroot{}, sdk.Hint(err, "set it to /usr/local/psa/admin/bin/filemng, on the machine of Plesk")
	}
	if !tokenPattern.MatchString(c.Token) {
		return docroot{}, sdk.Permanent(sdk.Problemf(sdk.Unsupported, "token %q is not base64url, so no file is named after it", c.Token))
	}
	found, err := p.api.siteOf(ctx, c.Identifier.Value)
	if err != nil {
		return docroot{}, fmt.Errorf("find the document root of %s: %w", c.Identifier, err)
	}
	root := docroot{path: found.properties["www_root"], user: found.properties["ftp_login"]}
	switch {
	case root.path == "" || root.user == "":
		err := sdk.Permanent(sdk.Problemf(sdk.NotFound, "the site %s is without hosting, so it has no document root", found.Name))
		return docroot{}, sdk.Hint(err, "prove %s by dns-01, or give the site web hosting in Plesk", c.Identifier)
	case !filepath.IsAbs(root.path) || strings.HasPrefix(root.user, "-"):
		return docroot{}, sdk.Problemf(sdk.Internal, "Plesk says that the site %s has the document root %q of the user %q", found.Name, root.path, root.user)
	}
	return root, nil
}

// put writes the file of a challenge, as the site's user.
func (p *plesk) put(ctx context.Context, root docroot, c sdk.Challenge, r sdk.Reporter) error {
	if c.HTTP == nil || len(c.HTTP.Body) == 0 {
		return sdk.Problemf(sdk.Internal, "the host sent no body")
	}
	dir := filepath.Join(root.path, levels[1])
	p.step("mkdir")
	if err := p.filemng(ctx, root, "mkdir", "-p", dir); err != nil {
		return err
	}
	switch is, err := look(root, ".htaccess"); {
	case err != nil:
		return err
	case is == nil:
		if err := p.copy(ctx, root, filepath.Join(dir, ".htaccess"), []byte(htaccess)); err != nil {
			return err
		}
	case string(is) != htaccess:
		r.Progress(c.ID, filepath.Join(dir, ".htaccess")+" is somebody else's and stays as it is")
	}
	return p.copy(ctx, root, filepath.Join(dir, c.Token), c.HTTP.Body)
}

// copy has filemng write a file, from one in the state directory.
func (p *plesk) copy(ctx context.Context, root docroot, to string, content []byte) error {
	from, err := os.CreateTemp(p.stateDir, "file-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	defer func() { _ = os.Remove(from.Name()) }()
	_, err = from.Write(content)
	if err := errors.Join(err, from.Close()); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	p.step("cp2perm")
	return p.filemng(ctx, root, "cp2perm", from.Name(), to, "0644")
}

// look gives the content of a file beside the challenges; nil: there is none.
// What the site's user has linked elsewhere is not followed.
func look(root docroot, name string) ([]byte, error) {
	dir, err := os.OpenRoot(root.path)
	var content []byte
	if err == nil {
		defer func() { _ = dir.Close() }()
		content, err = dir.ReadFile(filepath.Join(levels[1], name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", filepath.Join(root.path, levels[1], name), err)
	}
	if content == nil {
		content = []byte{}
	}
	return content, nil
}

// entries of a directory below the document root; gone: there is none.
func entries(root docroot, level string) (names []string, gone bool, err error) {
	dir, err := os.OpenRoot(root.path)
	if err == nil {
		defer func() { _ = dir.Close() }()
		var list []fs.DirEntry
		list, err = fs.ReadDir(dir.FS(), level)
		for _, e := range list {
			names = append(names, e.Name())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("look into %s: %w", filepath.Join(root.path, level), err)
	}
	return names, false, nil
}

// remove takes the file away, .htaccess with the last one, and directories that
// are empty then.
func (p *plesk) remove(ctx context.Context, root docroot, c sdk.Challenge, _ sdk.Reporter) error {
	dir := filepath.Join(root.path, levels[1])
	names, _, err := entries(root, levels[1])
	if err != nil {
		return err
	}
	if slices.Contains(names, c.Token) {
		p.step("rm")
		if err := p.filemng(ctx, root, "rm", filepath.Join(dir, c.Token)); err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n == c.Token })
	}
	if slices.Equal(names, []string{".htaccess"}) {
		is, err := look(root, ".htaccess")
		if err != nil {
			return err
		}
		if string(is) == htaccess {
			p.step("rm .htaccess")
			if err := p.filemng(ctx, root, "rm", filepath.Join(dir, ".htaccess")); err != nil {
				return err
			}
		}
	}
	for _, level := range slices.Backward(levels) {
		left, gone, err := entries(root, level)
		if err != nil {
			return err
		}
		if gone {
			continue
		}
		if len(left) > 0 {
			return nil
		}
		p.step("rmdir")
		if err := p.filemng(ctx, root, "rmdir", filepath.Join(root.path, level)); err != nil {
			return err
		}
	}
	return nil
}

// filemng does one thing as the site's user. The content of files is never
// among its arguments.
func (p *plesk) filemng(ctx context.Context, root docroot, args ...string) error {
	var out head
	cmd := exec.CommandContext(ctx, p.settings.Filemng, append([]string{root.user}, args...)...)
	cmd.Env, cmd.Dir = environment, "/"
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, holdLimit
	err := cmd.Run()
	what := "filemng " + root.user + " " + strings.Join(args, " ")
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case errors.Is(err, fs.ErrNotExist):
		problem := sdk.Problemf(sdk.NotInstalled, "%s: %w", what, err)
		return sdk.Subject(sdk.Hint(sdk.Permanent(problem), "set filemng to the path that it has on the machine of Plesk"), "filemng")
	}
	problem := sdk.Problemf(sdk.PermissionDenied, "%s: %w", what, err)
	problem.Detail = strings.Trim(fmt.Sprintf("%v: %s", err, out.words()), ": ")
	problem.Summary = what
	return sdk.Hint(problem, "run certwright as root, and see that the user %s may write to %s", root.user, root.path)
}
