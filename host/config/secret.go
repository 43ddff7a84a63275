package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

const (
	secretForms = "is a secret and wants a reference: {file: PATH}, {env: NAME}, {command: LINE} or {credential: NAME}; " +
		"on the command line @PATH, =env:NAME, =command:LINE or =credential:NAME"

	// credentialsVar names the directory of the credentials that systemd loads
	// for a unit (systemd.exec(5), LoadCredential=).
	credentialsVar = "CREDENTIALS_DIRECTORY"

	// commandLimit is how long a command may take to print a secret.
	commandLimit = 30 * time.Second
	// maxSecret bounds a secret, in bytes.
	maxSecret = 1 << 20
)

func (v Value) secret() (model.SecretRef, error) {
	if v.Text == nil {
		return secretRef(v.Any)
	}
	return SecretFlag(*v.Text)
}

// SecretFlag reads a reference as it is given on the command line.
func SecretFlag(text string) (model.SecretRef, error) {
	if path, ok := strings.CutPrefix(text, "@"); ok && path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return model.SecretRef{}, fmt.Errorf("path %s: %w", path, err)
		}
		return model.SecretRef{File: abs}, nil
	}
	// --set I.K==env:NAME lost one "=".
	kind, target, ok := strings.Cut(strings.TrimPrefix(text, "="), ":")
	if !ok || !slices.Contains([]string{"env", "command", "credential"}, kind) {
		// What it is may be the secret itself, so it is not shown.
		return model.SecretRef{}, errors.New(secretForms)
	}
	return reference(kind, target)
}

func secretRef(value any) (model.SecretRef, error) {
	m, ok := value.(map[string]any)
	if !ok || len(m) != 1 {
		return model.SecretRef{}, errors.New(secretForms)
	}
	var ref model.SecretRef
	var err error
	for kind, target := range m {
		text, isText := target.(string)
		if !isText {
			return ref, errors.New(secretForms)
		}
		ref, err = reference(kind, text)
	}
	return ref, err
}

func reference(kind, target string) (model.SecretRef, error) {
	var ref model.SecretRef
	if !slices.Contains([]string{"file", "env", "command", "credential"}, kind) {
		return ref, fmt.Errorf("has a reference of the unknown kind %q: it %s", kind, secretForms)
	}
	if target == "" {
		return ref, errors.New(secretForms)
	}
	switch kind {
	case "file":
		if !filepath.IsAbs(target) {
			return ref, fmt.Errorf("names the file %q, which is not an absolute path", target)
		}
		ref.File = target
	case "env":
		ref.Env = target
	case "command":
		ref.Command = target
	case "credential":
		if target != filepath.Base(target) || target == "." || target == ".." {
			return ref, fmt.Errorf("names the credential %q, which is no name of a file", target)
		}
		ref.Credential = target
	}
	return ref, nil
}

// ReadSecret fetches what a reference leads to. One final newline, which
// editors add, is not part of the secret of a file or command.
func ReadSecret(ctx context.Context, ref model.SecretRef) ([]byte, error) {
	var secret []byte
	var err error
	switch {
	case ref.Env != "":
		value, ok := os.LookupEnv(ref.Env)
		if !ok {
			return nil, fmt.Errorf("the %s is not set", ref)
		}
		secret = []byte(value)
	case ref.Command != "":
		secret, err = fromCommand(ctx, ref, commandLimit)
	case ref.Credential != "":
		dir := os.Getenv(credentialsVar)
		if dir == "" {
			return nil, sdk.Hint(fmt.Errorf("the %s cannot be read: %s is not set", ref, credentialsVar),
				"run certwright as a systemd unit with LoadCredential=%s:PATH", ref.Credential)
		}
		secret, err = fromFile(ref, filepath.Join(dir, ref.Credential))
	case ref.File != "":
		secret, err = fromFile(ref, ref.File)
	}
	if err != nil {
		return nil, err
	}
	if ref.Env == "" {
		secret = bytes.TrimSuffix(bytes.TrimSuffix(secret, []byte("\n")), []byte("\r"))
	}
	if len(secret) == 0 {
		return nil, fmt.Errorf("the %s holds no secret: it is empty", ref)
	}
	return secret, nil
}

// fromFile reads a secret that nobody but its owner and its group can read.
func fromFile(ref model.SecretRef, path string) ([]byte, error) {
	info, err := os.Stat(path)
	var data []byte
	switch {
	case err != nil:
	case info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0:
		return nil, sdk.Hint(fmt.Errorf("the %s is not secret: everybody may use it (mode %04o)", ref, info.Mode().Perm()),
			"run: chmod o= %s", path)
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("the %s has %d bytes, which no secret needs", ref, info.Size())
	default:
		data, err = os.ReadFile(path)
	}
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("the %s cannot be read: %w", ref, err)
	}
	return data, nil
}

// fromCommand takes what a command prints. What it prints is in no error.
func fromCommand(ctx context.Context, ref model.SecretRef, limit time.Duration) ([]byte, error) {
	result, err := script.Run(ctx, script.Command{Name: "the " + ref.String(), Line: ref.Command, Limit: limit, Output: maxSecret})
	switch {
	case result.Exited && result.Code != 0:
		why := strings.TrimSpace(strings.ToValidUTF8(result.Stderr, "?"))
		if why != "" {
			why = ": " + why
		}
		return nil, sdk.Hint(fmt.Errorf("the %s ended with exit status %d%s", ref, result.Code, why), "run it by hand, as the user that runs certwright")
	case err != nil && ctx.Err() == nil && sdk.ProblemOf(err).Code == sdk.Timeout:
		return nil, sdk.Hint(fmt.Errorf("the %s took longer than %s and was stopped", ref, limit), "run it by hand and see what it waits for")
	case err != nil:
		return nil, fmt.Errorf("the %s failed", ref)
	case result.Cut:
		return nil, fmt.Errorf("the %s prints more than %d bytes, which no secret needs", ref, maxSecret)
	}
	return []byte(result.Stdout), nil
}
