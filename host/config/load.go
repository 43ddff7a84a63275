package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/viper"

	"github.com/certwright/certwright/sdk"

	"github.com/certwright/certwright/host/internal/model"
)

// Sources says where a configuration comes from.
type Sources struct {
	// ConfigDir as given by flag or CERTWRIGHT_CONFIG_DIR; empty: the usual.
	ConfigDir string
	// Flags are the global scalars given on the command line, by key
	// ("server", "email", "ca_bundle", "agree_tos", "key_type", "state_dir").
	Flags map[string]any
	// PluginDirs given on the command line.
	PluginDirs []string
	// SysconfDir is where the packager keeps configuration; empty: /etc.
	SysconfDir string
}

// FileName is the name of the main file in the configuration directory.
const FileName = "certwright.yaml"

const envPrefix = "CERTWRIGHT"

// Load reads certwright.yaml and conf.d/*.yaml, which may both be missing, and
// resolves the rest. Every mistake is reported, with its place.
func Load(s Sources) (*Config, error) {
	dir := s.ConfigDir
	if dir == "" {
		dir = os.Getenv("CERTWRIGHT_CONFIG_DIR")
	}
	explicit := dir != ""
	if dir == "" {
		dir = defaultDir("XDG_CONFIG_HOME", ".config", filepath.Join(cmp.Or(s.SysconfDir, "/etc"), "certwright"))
	}
	cfg := &Config{PluginDirs: s.PluginDirs}
	v := viper.New()
	v.SetConfigType("yaml")
	v.SetEnvPrefix(envPrefix)
	v.SetDefault("key_type", string(model.P256))
	v.SetDefault("state_dir", defaultDir("XDG_STATE_HOME", ".local/state", "/var/lib/certwright"))
	for key := range scalars {
		if err := v.BindEnv(key); err != nil {
			return nil, fmt.Errorf("bind the environment of %s: %w", key, err)
		}
	}
	if err := readFiles(dir, explicit, v, cfg); err != nil {
		return nil, err
	}
	for key, value := range s.Flags {
		v.Set(key, value)
	}
	for key := range scalars {
		if s.overrides(key) {
			cfg.setPlace(key, s.place(key))
		}
	}
	if err := fromViper(v, s, cfg); err != nil {
		return nil, err
	}
	var err error
	if cfg.ConfigDir, err = absolute(dir); err != nil {
		return nil, fmt.Errorf("configuration directory %s: %w", dir, err)
	}
	cfg.completeHooks()
	return cfg, cfg.check()
}

// defaultDir is the system's directory for root, the user's own otherwise.
func defaultDir(variable, below, system string) string {
	if os.Geteuid() == 0 {
		return system
	}
	if base := os.Getenv(variable); filepath.IsAbs(base) {
		return filepath.Join(base, "certwright")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return system
	}
	return filepath.Join(home, below, "certwright")
}

func readFiles(dir string, explicit bool, v *viper.Viper, cfg *Config) error {
	if _, err := os.Stat(dir); explicit && err != nil {
		return errorAt(Pos{File: dir, Line: 1, Col: 1}, "the configuration directory cannot be read: %v", errors.Unwrap(err))
	}
	files := []string{filepath.Join(dir, FileName)}
	cfg.warnOfName(dir, FileName)
	more, err := os.ReadDir(filepath.Join(dir, "conf.d")) // sorted by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errorAt(Pos{File: filepath.Join(dir, "conf.d"), Line: 1, Col: 1}, "cannot be read: %v", err)
	}
	for _, entry := range more {
		if filepath.Ext(entry.Name()) == ".yaml" {
			files = append(files, filepath.Join(dir, "conf.d", entry.Name()))
		}
		if name, yml := strings.CutSuffix(entry.Name(), ".yml"); yml {
			cfg.warnOfName(filepath.Join(dir, "conf.d"), name+".yaml")
		}
	}
	var errs []error
	for _, file := range files {
		info, err := os.Stat(file)
		if err == nil && info.Mode().Perm()&0o002 != 0 {
			// It names commands that are run and plugins that are started.
			errs = append(errs, sdk.Hint(errorAt(Pos{File: file, Line: 1, Col: 1}, "everybody may write it (mode %04o)", info.Mode().Perm()), "run: chmod o-w %s", file))
			continue
		}
		data, err := os.ReadFile(file)
		if _, there := os.Lstat(file); there != nil && errors.Is(err, fs.ErrNotExist) {
			continue // no file; a link to nothing is a mistake
		}
		if err != nil {
			errs = append(errs, errorAt(Pos{File: file, Line: 1, Col: 1}, "cannot be read: %v", unreadable(file, err)))
			continue
		}
		cfg.Files = append(cfg.Files, file)
		if err := decode(file, data, cfg); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := v.MergeConfig(bytes.NewReader(data)); err != nil {
			errs = append(errs, syntaxError(file, data, err))
		}
	}
	return errors.Join(errs...)
}

// unreadable says why a file cannot be read.
func unreadable(file string, err error) error {
	if target, linkErr := os.Readlink(file); linkErr == nil && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it is a symbolic link to %s, which does not exist", target)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// warnOfName warns of a file with the other suffix of YAML, which is not read.
func (c *Config) warnOfName(dir, name string) {
	other := filepath.Join(dir, strings.TrimSuffix(name, ".yaml")+".yml")
	if _, err := os.Lstat(other); err == nil {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s is not read: rename it to %s", other, name))
	}
}

func fromViper(v *viper.Viper, s Sources, cfg *Config) error {
	var errs []error
	fail := func(key string, err error) { errs = append(errs, errorAt(s.place(key), "%v", err)) }
	for _, key := range []string{"email", "key_type", "server"} {
		if err := checkScalar(key, v.GetString(key)); err != nil {
			fail(key, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	cfg.Email, cfg.KeyType = v.GetString("email"), model.KeyType(v.GetString("key_type"))
	cfg.ServerGiven = v.GetString("server") != ""
	var err error
	if cfg.Server, err = ServerURL(cmp.Or(v.GetString("server"), "letsencrypt")); err != nil {
		fail("server", err)
	}
	if cfg.AgreeTOS, err = strconv.ParseBool(cmp.Or(v.GetString("agree_tos"), "false")); err != nil {
		fail("agree_tos", fmt.Errorf("agree_tos wants true or false, not %q", v.GetString("agree_tos")))
	}
	if cfg.CABundle, err = absolute(v.GetString("ca_bundle")); err != nil {
		fail("ca_bundle", fmt.Errorf("ca_bundle: %w", err))
	}
	if cfg.StateDir, err = absolute(v.GetString("state_dir")); err != nil {
		fail("state_dir", fmt.Errorf("state_dir: %w", err))
	}
	return errors.Join(errs...)
}

func (s Sources) overrides(key string) bool {
	_, given := s.Flags[key]
	return given || os.Getenv(envPrefix+"_"+strings.ToUpper(key)) != ""
}

// place says where a global scalar came from that is not from a file: those
// were checked when the file was read.
func (s Sources) place(key string) Pos {
	name := envPrefix + "_" + strings.ToUpper(key)
	if _, given := s.Flags[key]; !given && os.Getenv(name) != "" {
		return Pos{File: "environment variable " + name}
	}
	return Pos{}
}

// check finds what is wrong between parts: names that stand twice, references
// to what does not exist.
func (c *Config) check() error {
	var errs []error
	unique := func(kind string, name func(int) (string, Pos), n int) {
		seen := map[string]Pos{}
		for i := range n {
			key, p := name(i)
			if first, twice := seen[key]; twice {
				errs = append(errs, errorAt(p, "the %s %q is defined at %s already", kind, key, first))
				continue
			}
			seen[key] = p
		}
	}
	unique("account", func(i int) (string, Pos) { return c.Accounts[i].Name, c.Accounts[i].Pos }, len(c.Accounts))
	unique("instance", func(i int) (string, Pos) { return c.Instances[i].Name, c.Instances[i].Pos }, len(c.Instances))
	for i := range c.Certificates {
		cert := &c.Certificates[i]
		if cert.Name == "" {
			id, err := ParseIdentifier(cert.Names[0])
			if err != nil {
				continue // reported below
			}
			cert.Name = LineageName(id)
		}
		if !validName(cert.Name) { // a name that was derived can be too long
			errs = append(errs, errorAt(cert.Pos, "the certificate name %q wants lower-case letters, digits, dots, dashes and underscores", cert.Name))
		}
	}
	unique("certificate", func(i int) (string, Pos) { return c.Certificates[i].Name, c.Certificates[i].Pos }, len(c.Certificates))
	for _, cert := range c.Certificates {
		errs = append(errs, c.checkCertificate(cert)...)
	}
	return errors.Join(errs...)
}

func (c *Config) checkCertificate(cert Certificate) []error {
	var errs []error
	if _, ok := c.Account(cert.Account); cert.Account != "" && !ok {
		errs = append(errs, errorAt(cert.Pos, "certificate %s: there is no account %q", cert.Name, cert.Account))
	}
	uses := slices.Concat(cert.Deploy, cert.Hooks, c.Hooks)
	for _, r := range cert.Authenticate {
		uses = append(uses, r.Instances()...)
	}
	for _, name := range uses {
		if err := checkInstanceName(name); err != nil {
			errs = append(errs, errorAt(cert.Pos, "certificate %s: %v", cert.Name, err))
		}
	}
	if _, err := c.request(cert); err != nil {
		errs = append(errs, errorAt(cert.Pos, "certificate %s: %v", cmp.Or(cert.Name, cert.Names[0]), err))
	}
	return errs
}
