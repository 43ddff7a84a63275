package plugintest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Mark is in every secret that a test makes with [Secret], so that one look
// through what the programs under test have printed and written tells whether
// any of it got out. It is of base64's alphabet, and four times four characters
// long, so that the mark stays what it is in secrets that are base64.
const Mark = "keptOutOfSight0x"

// Secret makes a secret that holds the mark. It is base64, standard as well as
// for URLs, of 48 bytes, and the same for the same name.
func Secret(name string) string {
	sum := sha256.Sum256([]byte(name))
	return Mark + strings.ToUpper(hex.EncodeToString(sum[:24]))
}

// leaks are the forms of the mark, which must be nowhere, by what they are called.
var leaks = func() map[string]string {
	return map[string]string{
		"a secret":                     Mark,
		"a secret in hexadecimal":      hex.EncodeToString([]byte(Mark)),
		"the bytes of a base64 secret": string(decoded(Mark)),
		"those bytes, in hexadecimal":  hex.EncodeToString(decoded(Mark)),
		"a secret in base64":           base64.StdEncoding.EncodeToString([]byte(Mark))[:20],
		"a secret in base64, 1 before": base64.StdEncoding.EncodeToString([]byte("." + Mark))[2:20],
		"a secret in base64, 2 before": base64.StdEncoding.EncodeToString([]byte(".." + Mark))[3:20],
	}
}()

func decoded(text string) []byte {
	out, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err) // the mark is base64
	}
	return out
}

// PrivateKey is what [Leak] says of a text with a private key and no secret.
const PrivateKey = "a private key"

const privateKeyForm = "PRIVATE KEY-----"

// Leak says what a text shows that it must not: a marked secret, in whatever
// form, or a private key. Empty: nothing.
func Leak(text []byte) string {
	for what, form := range leaks {
		if bytes.Contains(text, []byte(form)) {
			return what
		}
	}
	if bytes.Contains(text, []byte(privateKeyForm)) {
		return PrivateKey
	}
	return ""
}

// coreFile is what a kernel calls the memory of a process that has crashed.
var coreFile = regexp.MustCompile(`^core(\.[0-9]+)?$`)

// LeakingFiles looks through a folder and says what each file shows that it must
// not, by its path below the folder; a core file is one that must not be there.
// What may be there is told by allowed.
func LeakingFiles(root string, allowed func(path string) bool) (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != root {
			return nil // gone meanwhile
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil || allowed != nil && allowed(below) {
			return err
		}
		if coreFile.MatchString(entry.Name()) {
			out[below] = "the memory of a process"
			return nil
		}
		text, err := os.ReadFile(path)
		if leak := Leak(text); leak != "" {
			out[below] = leak
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return out, err
}
