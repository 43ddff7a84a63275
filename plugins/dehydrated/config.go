package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

// config is what is read of dehydrated's configuration, with its defaults.
type config struct {
	path, baseDir        string
	hook                 string
	chain                bool
	challengeType        string
	wellknown            string
	alpnCertDir          string
	certDir              string
	keyAlgo, keyRollover string
}

// reading runs the file as dehydrated does: it is a piece of bash. Only what is
// printed at the end, on the descriptor that was the output, counts.
const reading = `set -e -u -o pipefail
exec 3>&1 1>&2
umask 077
shopt -s nullglob
set -f
BASEDIR="$(dirname "$CONFIG")"
SCRIPTDIR="$BASEDIR"
CHALLENGETYPE=http-01 CONFIG_D= HOOK= HOOK_CHAIN=no WELLKNOWN= KEY_ALGO=secp384r1 PRIVATE_KEY_ROLLOVER=no
CERTDIR= ALPNCERTDIR= DOMAINS_D= DOMAINS_TXT= CONTACT_EMAIL= OPENSSL_CNF= PREFERRED_CHAIN= CURL_OPTS= CA=letsencrypt
. "$CONFIG"
if [ -n "$CONFIG_D" ]; then
  [ -d "$CONFIG_D" ] || { echo "CONFIG_D $CONFIG_D is not a directory"; exit 1; }
  set +f
  for more in "$CONFIG_D"/*.sh; do . "$more"; done
  set -f
fi
for name in BASEDIR HOOK HOOK_CHAIN CHALLENGETYPE WELLKNOWN KEY_ALGO PRIVATE_KEY_ROLLOVER ALPNCERTDIR; do
  printf '%s=%s\0' "$name" "${!name}" >&3
done
`

// readConfig reads a configuration; an empty path gives the defaults. stateDir is
// the instance's own directory: certificates are found from it.
func readConfig(ctx context.Context, path, stateDir string) (config, error) {
	c := config{
		wellknown: "/var/www/dehydrated", keyAlgo: "secp384r1", keyRollover: "no",
		baseDir: stateDir, alpnCertDir: filepath.Join(stateDir, "alpn-certs"),
		// plugins/INSTANCE and live are in the state directory of the host.
		certDir: filepath.Join(filepath.Dir(filepath.Dir(stateDir)), "live"),
	}
	if path == "" {
		return c, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return c, fmt.Errorf("find dehydrated's config %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		p := sdk.Problemf(sdk.NotFound, "dehydrated's config %s does not exist, or is not a file", path)
		return c, sdk.Hint(sdk.Permanent(p), "give the path of the file, usually /etc/dehydrated/config")
	}
	if err := trusted(path, info); err != nil {
		return c, err
	}
	result, err := script.Run(ctx, script.Command{
		Name: "dehydrated's config " + path, Path: "bash", Args: []string{"-c", reading}, Dir: filepath.Dir(path),
		Env: script.Environ(map[string]string{"CONFIG": path}), Limit: 20 * time.Second,
		Hint: "mend what it says, or see what bash says to it",
	})
	if err != nil {
		return c, sdk.WithCode(sdk.Permanent(fmt.Errorf("read %s: %w", path, err)), sdk.InvalidConfig)
	}
	values := map[string]string{}
	for entry := range strings.SplitSeq(result.Stdout, "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	c.path, c.baseDir = path, values["BASEDIR"]
	if c.baseDir != "/" {
		c.baseDir = strings.TrimRight(c.baseDir, "/")
	}
	c.hook, c.chain, c.challengeType = values["HOOK"], values["HOOK_CHAIN"] == "yes", values["CHALLENGETYPE"]
	c.keyAlgo, c.keyRollover = values["KEY_ALGO"], values["PRIVATE_KEY_ROLLOVER"]
	if values["WELLKNOWN"] != "" {
		c.wellknown = values["WELLKNOWN"]
	}
	if c.alpnCertDir = values["ALPNCERTDIR"]; c.alpnCertDir == "" {
		c.alpnCertDir = filepath.Join(c.baseDir, "alpn-certs")
	}
	return c, nil
}

// trusted refuses a configuration that others could have written: it is run.
func trusted(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o002 != 0 {
		p := sdk.Problemf(sdk.PermissionDenied, "dehydrated's config %s is run as bash code, and everybody may write it (mode %04o)", path, info.Mode().Perm())
		return sdk.Hint(sdk.Permanent(p), "run: chmod o-w %s", path)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if ok && owner.Uid != 0 && int64(owner.Uid) != int64(os.Geteuid()) {
		p := sdk.Problemf(sdk.PermissionDenied, "dehydrated's config %s is run as bash code, and belongs to another user (uid %d)", path, owner.Uid)
		return sdk.Hint(sdk.Permanent(p), "if you trust it, run: chown root %s", path)
	}
	return nil
}

// wellknownErr says why files for http-01 cannot be put into WELLKNOWN.
func (c config) wellknownErr() error {
	if info, err := os.Stat(c.wellknown); err != nil || !info.IsDir() {
		p := sdk.Problemf(sdk.NotFound, "the directory WELLKNOWN, %s, for http-01 does not exist", c.wellknown)
		return sdk.Hint(sdk.Permanent(p), "create it, correct WELLKNOWN in dehydrated's config, or choose dns-01")
	}
	return nil
}
