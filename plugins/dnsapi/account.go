package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// Settings that scripts keep are in a file like acme.sh's account.conf: lines of
// NAME='value'. A value that one pair of quotes cannot hold is base64 between
// these marks, as there.
const (
	base64Start = "__ACME_BASE64__START_"
	base64End   = "__ACME_BASE64__END_"
	// importedNote is followed by the digest of the file that was taken over.
	importedNote = "# taken over: "
)

type variable struct{ name, value string }

// account is the file of one instance.
type account struct {
	path     string
	imported string
	vars     []variable
}

// openAccount reads the file; one that is missing is empty.
func openAccount(path string) (*account, error) {
	a := &account{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the settings that the script keeps: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if note, ok := strings.CutPrefix(line, importedNote); ok {
			a.imported = strings.TrimSpace(note)
		}
	}
	a.vars, _ = parseConf(string(text)) // what the shim did not write is dropped
	return a, nil
}

func (a *account) set(name, value string) {
	for i, v := range a.vars {
		if v.name == name {
			a.vars[i].value = value
			return
		}
	}
	a.vars = append(a.vars, variable{name, value})
}

// save replaces the file. It is on disk when save returns.
func (a *account) save() error {
	var text bytes.Buffer
	if a.imported != "" {
		fmt.Fprintf(&text, "%s%s\n", importedNote, a.imported)
	}
	for _, v := range a.vars {
		fmt.Fprintf(&text, "%s='%s'\n", v.name, encoded(v.value))
	}
	return replace(a.path, text.Bytes())
}

func encoded(value string) string {
	if !strings.ContainsAny(value, "'\n\r") {
		return value
	}
	return base64Start + base64.StdEncoding.EncodeToString([]byte(value)) + base64End
}

// decoded gives the value itself.
func decoded(value string) string {
	inner, marked := strings.CutPrefix(value, base64Start)
	inner, ended := strings.CutSuffix(inner, base64End)
	if !marked || !ended {
		return value
	}
	plain, err := base64.StdEncoding.DecodeString(inner)
	if err != nil {
		return value
	}
	return string(plain)
}

// replace writes a file of this user alone, whole or not at all.
func replace(path string, content []byte) (err error) {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// syncPath brings a file, or the names in a directory, to the disk. What is not
// there needs nothing.
func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// foreign are settings of acme.sh itself, which mean nothing here.
var foreign = regexp.MustCompile(`^(SAVED_)?(LE_.*|Le_.*|ACCOUNT_.*|CERT_HOME|AUTO_UPGRADE|UPGRADE_HASH|USER_PATH|LOG_.*|SYS_LOG|` +
	`NO_TIMESTAMP|DEFAULT_ACME_SERVER|NOTIFY_.*|DEFAULT_.*|IFS|PATH|LD_.*|ENV|BASH_ENV|HTTP_HEADER|DOMAIN_CONF|DEBUG|_.*)$`)

// general are settings of acme.sh that are for every script.
var general = []string{
	"HTTPS_INSECURE", "CA_BUNDLE", "CA_PATH", "USER_AGENT", "ACME_USE_WGET", "ACME_OPENSSL_BIN",
	"ACME_USE_IPV4_REQUESTS", "ACME_USE_IPV6_REQUESTS", "DOH_USE",
}

// dynamic finds scripts that make the names of their settings when they run.
var dynamic = regexp.MustCompile(`_readaccountconf(_mutable)?\s+["']?[A-Za-z_0-9]*\$`)

// takeOver brings in the settings of an account.conf of acme.sh that the script
// asks for: those of other providers are not its business. It is done once for
// each state of that file. The words say what was done; none if nothing.
func (a *account) takeOver(path, script string) (words []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		err := sdk.Problemf(sdk.InvalidConfig, "read acme.sh's settings: %w", err)
		return nil, sdk.Subject(sdk.Hint(err, "correct account_conf, or leave it out if the settings were taken over before"), "account_conf")
	}
	sum := sha256.Sum256(append([]byte(path+"\x00"), text...))
	digest := hex.EncodeToString(sum[:])
	if a.imported == digest {
		return nil, nil
	}
	vars, unread := parseConf(string(text))
	var names []string
	for _, v := range vars {
		name := strings.TrimPrefix(v.name, "SAVED_")
		wanted := slices.Contains(general, name) || mentions(script, name) || dynamic.MatchString(script)
		if foreign.MatchString(v.name) || !wanted {
			continue
		}
		a.set(v.name, v.value)
		names = append(names, name)
	}
	a.imported = digest
	words = append(words, fmt.Sprintf("took over from %s: %s", path, orNothing(names)))
	for _, line := range unread {
		words = append(words, fmt.Sprintf("%s:%d holds more than a plain value and was left out: give it as env.NAME", path, line))
	}
	return words, nil
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing that the script asks for"
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

func mentions(text, name string) bool {
	for rest := text; ; {
		before, after, found := strings.Cut(rest, name)
		if !found {
			return false
		}
		if !endsInName(before) && !startsInName(after) {
			return true
		}
		rest = after
	}
}

func inName(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

func endsInName(s string) bool   { return s != "" && inName(s[len(s)-1]) }
func startsInName(s string) bool { return s != "" && inName(s[0]) }
