package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Ctl        string   `setting:"ctl" doc:"control program: apache2ctl, apachectl or httpd itself; empty: the first of these that there is"`
	Config     string   `setting:"config" default:"/etc/apache2/apache2.conf" doc:"main configuration file; if the default does not exist, or server_root is set, the one that httpd would read"`
	ServerRoot string   `setting:"server_root" doc:"directory of the configuration (httpd -d); empty: the one that httpd was built with"`
	Writes     []string `setting:"writes" doc:"more directories with files that are to be edited or that the control program writes to: the sandbox allows /etc/apache2, /etc/httpd, /run/apache2 and those of config and server_root"`
	HTTPPort   int      `setting:"http_port" default:"80" doc:"port that the CA's request for a challenge arrives at"`
	HTTPSPort  int      `setting:"https_port" default:"443" doc:"port that TLS is served at"`
}

// standardConfig is Debian's.
const standardConfig = "/etc/apache2/apache2.conf"

// controls are tried in this order.
var controls = []string{
	"/usr/sbin/apache2ctl", "/usr/sbin/apachectl", "/usr/sbin/httpd", "/usr/local/sbin/apachectl", "/usr/local/apache2/bin/apachectl",
}

// parse gives one problem for each setting that is wrong.
func (s settings) parse() error {
	var errs []error
	check := func(setting string, err error) {
		if err != nil {
			err = sdk.WithCode(fmt.Errorf("setting %s: %w", setting, err), sdk.InvalidConfig)
			errs = append(errs, sdk.Subject(sdk.Permanent(err), setting))
		}
	}
	if s.Ctl != "" {
		check("ctl", checkFile(s.Ctl, "name the control program of httpd, for instance /usr/sbin/apache2ctl"))
	}
	if s.Config != standardConfig {
		check("config", checkFile(s.Config, "name the main configuration file of httpd"))
	}
	if s.ServerRoot != "" {
		check("server_root", checkDir(s.ServerRoot))
	}
	for name, port := range map[string]int{"http_port": s.HTTPPort, "https_port": s.HTTPSPort} {
		if port < 1 || port > 65535 {
			check(name, fmt.Errorf("%d is no port", port))
		}
	}
	if len(errs) == 0 && s.HTTPPort == s.HTTPSPort {
		check("https_port", fmt.Errorf("%d is http_port too", s.HTTPSPort))
	}
	return errors.Join(errs...)
}

func checkFile(path, hint string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path", path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sdk.Hint(fmt.Errorf("%s does not exist", path), "%s", hint)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return sdk.Hint(fmt.Errorf("%s is not a file", path), "%s", hint)
	}
	return nil
}

func checkDir(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path", path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sdk.Hint(fmt.Errorf("%s does not exist", path), "name the directory of the configuration, for instance /etc/apache2")
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", path)
	}
	return nil
}

// control finds the control program.
func (s settings) control() (string, error) {
	if s.Ctl != "" {
		return s.Ctl, nil
	}
	for _, path := range controls {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	err := sdk.Permanent(sdk.Problemf(sdk.NotInstalled, "no control program of Apache httpd is installed where one is looked for"))
	return "", sdk.Hint(err, "install Apache httpd, or name apache2ctl, apachectl or httpd in the setting ctl")
}

func (s settings) httpPort() string  { return strconv.Itoa(s.HTTPPort) }
func (s settings) httpsPort() string { return strconv.Itoa(s.HTTPSPort) }

// standard says whether this is the server that the system's own unit runs.
func (s settings) standard() bool {
	root := filepath.Clean(s.ServerRoot)
	return s.Config == standardConfig && (s.ServerRoot == "" || root == "/etc/apache2" || root == "/etc/httpd") &&
		(s.Ctl == "" || slices.Contains(controls, s.Ctl))
}
