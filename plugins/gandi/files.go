package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// place is where the files of an instance go.
type place struct {
	address string // host:port
	user    string
	kind    string // type of the instance
}

// levels lead from a document root to the files (RFC 8555 section 8.3).
var levels = []string{".well-known", ".well-known/acme-challenge"}

// tokenPattern is base64url (RFC 8555 section 8.1): a token names a file in its
// directory and nothing else, and is one word in .htaccess.
var tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// place takes what the settings say, and asks the API for the rest.
func (g *gandi) place(ctx context.Context) (place, error) {
	at := place{address: g.settings.SFTPServer, user: g.settings.SFTPUser, kind: g.settings.InstanceType}
	if at.address == "" || at.user == "" || at.kind == "" {
		found, err := g.instance(ctx)
		if err != nil {
			return place{}, err
		}
		if at.address == "" {
			at.address = found.FTPServer
		}
		if at.user == "" {
			at.user = strconv.Itoa(found.User)
		}
		if at.kind == "" {
			at.kind = found.Type
		}
	}
	if _, _, err := net.SplitHostPort(at.address); err != nil {
		at.address = net.JoinHostPort(at.address, "22")
	}
	return at, nil
}

// baseOf gives the document root; empty: the type is not known.
func baseOf(kind, vhost string) string {
	switch {
	case strings.HasPrefix(kind, "php"):
		return path.Join("vhosts", vhost, "htdocs")
	case strings.HasPrefix(kind, "python"), strings.HasPrefix(kind, "nodejs"):
		return "vhosts/default"
	case strings.HasPrefix(kind, "ruby"):
		return "vhosts/default/public"
	}
	return ""
}

func (g *gandi) root(at place, id sdk.Identifier) (string, error) {
	vhost := g.settings.VHost
	if vhost == "" {
		vhost = id.Value
	}
	if strings.ContainsAny(vhost, "/\x00") || strings.HasPrefix(vhost, ".") || vhost == "" {
		return "", sdk.Problemf(sdk.Internal, "the host asked for a file of the name %q", id.Value)
	}
	if base := baseOf(at.kind, vhost); base != "" {
		return base, nil
	}
	err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "an instance of type %q has no directory that is known", at.kind))
	return "", sdk.Hint(err, "set instance_type to php, python, nodejs or ruby, whichever is served in the same way, or use LiveDNS")
}

// performFiles writes a file for each challenge, and switches rewriting off
// where they are, as long as they are there.
func (g *gandi) performFiles(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	return g.overSFTP(ctx, challenges, func(s *site, c sdk.Challenge, root string) error {
		r.Progress(c.ID, fmt.Sprintf("putting a file for %s into %s", c.Identifier, root))
		return s.put(g.step, root, c)
	}, r)
}

// cleanupFiles takes away what belongs to the challenges. It needs no record of
// them: what was added to .htaccess says itself whose it is.
func (g *gandi) cleanupFiles(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	return g.overSFTP(ctx, challenges, func(s *site, c sdk.Challenge, root string) error {
		return s.remove(g.step, root, c.Token)
	}, r)
}

func (g *gandi) overSFTP(ctx context.Context, challenges []sdk.Challenge, do func(*site, sdk.Challenge, string) error, r sdk.Reporter) error {
	if len(challenges) == 0 {
		return nil
	}
	if err := g.files.enter(ctx); err != nil {
		return err
	}
	defer g.files.leave()
	at, err := g.place(ctx)
	if err != nil {
		return err
	}
	s, err := g.connect(ctx, at)
	if err != nil {
		return err
	}
	defer s.close()
	for _, c := range challenges {
		root, err := g.root(at, c.Identifier)
		if err == nil && !tokenPattern.MatchString(c.Token) {
			err = sdk.Permanent(sdk.Problemf(sdk.Unsupported, "token %q is not base64url, so no file is named after it", c.Token))
		}
		if err == nil {
			err = do(s, c, root)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(explainFile(err, at, root), c.ID)})
	}
	return nil
}

func explainFile(err error, at place, root string) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("sftp://%s@%s/%s: %w", at.user, at.address, root, err)
	switch {
	case errors.Is(err, errNoRoot):
		err = sdk.Permanent(sdk.WithCode(err, sdk.NotFound))
		return sdk.Hint(err, "add the virtual host to the instance, or name the one that answers for it in the setting vhost")
	case errors.Is(err, fs.ErrPermission):
		return sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "let the user %s write to %s", at.user, root)
	}
	return err
}

var errNoRoot = errors.New("the document root does not exist")

// put writes the file of a challenge.
func (s *site) put(step func(string), root string, c sdk.Challenge) error {
	if c.HTTP == nil || len(c.HTTP.Body) == 0 {
		return sdk.Problemf(sdk.Internal, "the host sent no body")
	}
	if info, err := s.Stat(root); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return errNoRoot
	} else if err != nil {
		return fmt.Errorf("look for the document root: %w", err)
	}
	for _, level := range levels {
		step("mkdir")
		at := path.Join(root, level)
		if err := s.Mkdir(at); err != nil {
			if info, look := s.Stat(at); look != nil || !info.IsDir() {
				return fmt.Errorf("make the directory %s: %w", level, err)
			}
			continue
		}
		if err := s.Chmod(at, 0o755); err != nil { // whatever the server's umask is
			return fmt.Errorf("open the directory %s to the web server: %w", level, err)
		}
	}
	if err := s.editHtaccess(step, root, c.Token, patch); err != nil {
		return err
	}
	return s.replace(step, path.Join(root, levels[1], c.Token), c.Token, c.HTTP.Body, 0o444)
}

// remove takes the file away, then what was added to .htaccess for it, then the
// directories if they are empty.
func (s *site) remove(step func(string), root, token string) error {
	step("remove")
	if err := s.restore(path.Join(root, levels[1], token)); err != nil {
		return err
	}
	if err := s.Remove(path.Join(root, levels[1], token)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the file %s: %w", token, err)
	}
	if err := s.editHtaccess(step, root, token, unpatch); err != nil {
		return err
	}
	for _, level := range slices.Backward(levels) {
		at := path.Join(root, level)
		// Of a process that was killed.
		if err := s.Remove(path.Join(at, tempPrefix+token)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the file %s: %w", tempPrefix+token, err)
		}
		step("rmdir")
		// A directory that holds something of others stays.
		_ = s.RemoveDirectory(at)
	}
	return nil
}

// editHtaccess changes .well-known/.htaccess in one step; a nil text is no file.
func (s *site) editHtaccess(step func(string), root, token string, edit func(text []byte, exists bool, token string) []byte) error {
	at := path.Join(root, levels[0], ".htaccess")
	if err := s.restore(at); err != nil {
		return err
	}
	text, mode, err := s.read(at)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read .htaccess: %w", err)
	}
	edited := edit(text, exists, token)
	switch {
	case !exists && edited == nil, exists && edited != nil && bytes.Equal(text, edited):
		return nil
	case edited == nil:
		step("remove .htaccess")
		if err := s.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove .htaccess: %w", err)
		}
		return nil
	}
	if !exists {
		mode = 0o644
	}
	return s.replace(step, at, token, edited, mode)
}

// maxHtaccess bounds what is read of a file that is nobody's business.
const maxHtaccess = 1 << 20

func (s *site) read(at string) ([]byte, fs.FileMode, error) {
	f, err := s.Open(at)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxHtaccess+1))
	if len(text) > maxHtaccess {
		err = fmt.Errorf("it has more than %d bytes", maxHtaccess)
	}
	return text, info.Mode().Perm(), err
}

// tempPrefix begins no token; one follows it, so that Cleanup finds the file.
const tempPrefix = ".certwright-"

// asidePrefix begins the name that a file has while it is replaced at a server
// that does not replace in one step. It begins no temporary file.
const asidePrefix = ".certwright."

func aside(at string) string { return path.Join(path.Dir(at), asidePrefix+path.Base(at)) }

// replace writes a file so that nobody ever reads half of it.
func (s *site) replace(step func(string), at, token string, content []byte, mode fs.FileMode) error {
	temp := path.Join(path.Dir(at), tempPrefix+token)
	step("write")
	err := s.write(temp, content, mode)
	if err == nil {
		err = s.move(step, temp, at)
	}
	if err != nil {
		_ = s.Remove(temp) // Cleanup does it again
		return fmt.Errorf("write the file %s: %w", path.Base(at), err)
	}
	return nil
}

// move puts a file in the place of another one. What was there is never the
// only thing that is removed: without OpenSSH's extension, which alone replaces,
// it is set aside until the new one is there; see restore.
func (s *site) move(step func(string), temp, at string) error {
	if _, replaces := s.HasExtension("posix-rename@openssh.com"); replaces {
		step("rename")
		return s.PosixRename(temp, at)
	}
	if err := s.restore(at); err != nil {
		return err
	}
	step("set aside")
	err := s.Rename(at, aside(at))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set aside what is there: %w", err)
	}
	step("rename")
	if err := s.Rename(temp, at); err != nil {
		return errors.Join(err, s.restore(at))
	}
	step("remove what was set aside")
	return s.restore(at)
}

// restore ends a move that was interrupted: what was set aside is put back, or
// removed if the new file is in its place.
func (s *site) restore(at string) error {
	if _, err := s.Lstat(aside(at)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look for what was set aside of %s: %w", path.Base(at), err)
	}
	_, err := s.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = s.Rename(aside(at), at)
	case err == nil:
		err = s.Remove(aside(at))
	}
	if err != nil {
		return fmt.Errorf("put back %s, which was set aside as %s: %w", path.Base(at), path.Base(aside(at)), err)
	}
	return nil
}

func (s *site) write(at string, content []byte, mode fs.FileMode) error {
	f, err := s.Create(at)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	return errors.Join(err, f.Close())
}

// What is added to .htaccess is a block for each token, which Cleanup finds
// again by the token alone; and a first line where there was no file.
const madeLine = "# certwright made this file and removes it\n"

func block(token string) []byte {
	return fmt.Appendf(nil, "\n# certwright %s begins\nRewriteEngine off\n# certwright %s ends\n", token, token)
}

func patch(text []byte, exists bool, token string) []byte {
	if !exists {
		text = []byte(madeLine)
	}
	if bytes.Contains(text, block(token)) {
		return text
	}
	return append(bytes.Clone(text), block(token)...)
}

// unpatch gives back the bytes of before, nil if there was no file.
func unpatch(text []byte, exists bool, token string) []byte {
	if !exists {
		return nil
	}
	text = bytes.ReplaceAll(text, block(token), nil)
	if string(text) == madeLine {
		return nil
	}
	if text == nil {
		text = []byte{}
	}
	return text
}
