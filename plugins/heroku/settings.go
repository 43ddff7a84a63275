package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Token      sdk.Secret        `setting:"token,required" doc:"API token; heroku authorizations:create makes one"`
	App        string            `setting:"app" doc:"app that serves the names that apps does not name"`
	Apps       map[string]string `setting:"apps" doc:"app by name; several names may share one, as in \"a.example,b.example\""`
	Variable   string            `setting:"variable" default:"LETS_ENCRYPT_CHALLENGE" doc:"http-01: config var that holds one answer, for apps that know no other"`
	Variables  string            `setting:"variables" default:"LETS_ENCRYPT_CHALLENGES" doc:"http-01: config var that holds all answers, a JSON object from token to answer"`
	DynoWait   time.Duration     `setting:"dyno_wait" default:"4m" doc:"http-01: how long the app's web dynos may take to restart"`
	AddDomains bool              `setting:"add_domains" default:"true" doc:"http-01: add a name to its app that is not there; it fails all the same, until DNS leads there"`
	Endpoints  []string          `setting:"endpoints" doc:"where the certificate is to be seen after the deployment, as host:port"`
	Endpoint   string            `setting:"endpoint" default:"https://api.heroku.com" doc:"address of the Platform API"`
	CAFile     string            `setting:"ca_file" doc:"PEM file with the roots to trust for the API in place of the system's"`
}

var (
	appPattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,40}$`) // a name or an id
	variablePattern = regexp.MustCompile(`^[A-Za-z_]\w*$`)
)

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting "+setting+": "+format, args...)
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	if s.App == "" && len(s.Apps) == 0 {
		wrong("app", "name the app that serves the names", "it is missing, and apps too")
	}
	if s.App != "" && !appPattern.MatchString(s.App) {
		wrong("app", "give its name as heroku apps lists it", "%q is not the name of an app", s.App)
	}
	seen := map[string]bool{}
	for _, names := range slices.Sorted(maps.Keys(s.Apps)) {
		if !appPattern.MatchString(s.Apps[names]) {
			wrong("apps", "give its name as heroku apps lists it", "%q is not the name of an app", s.Apps[names])
		}
		for name := range strings.SplitSeq(names, ",") {
			name = canonical(name)
			if name == "" || seen[name] {
				wrong("apps", "give each name one app", "the name %q is empty, or there twice", name)
			}
			seen[name] = true
		}
	}
	for setting, name := range map[string]string{"variable": s.Variable, "variables": s.Variables} {
		if !variablePattern.MatchString(name) {
			wrong(setting, "use letters, digits and underscores", "%q is not the name of a config var", name)
		}
	}
	if s.Variable == s.Variables {
		wrong("variables", "use two names", "%s is the name of variable too", s.Variables)
	}
	if s.DynoWait <= 0 {
		wrong("dyno_wait", "write it as in 4m", "%s is no time to wait", s.DynoWait)
	}
	for _, e := range s.Endpoints {
		if err := checkAddress(e); err != nil {
			wrong("endpoints", "write it as in www.example.com:443", "%q: %w", e, err)
		}
	}
	return errors.Join(errs...)
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if n, bad := strconv.ParseUint(port, 10, 16); err == nil && (host == "" || bad != nil || n == 0) {
		err = errors.New("it is not host:port")
	}
	return err
}

func canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), "."))
}

// appOf gives the app that serves a name; empty: none does.
func (s settings) appOf(name string) string {
	name = canonical(name)
	for names, app := range s.Apps {
		for n := range strings.SplitSeq(names, ",") {
			if canonical(n) == name {
				return app
			}
		}
	}
	return s.App
}

func noApp(name string) error {
	err := sdk.Permanent(sdk.Problemf(sdk.NotFound, "no app is set for %s", name))
	return sdk.Hint(err, "%s", fmt.Sprintf("add %s to apps, or set app for all names that apps does not name", name))
}
