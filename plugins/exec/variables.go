package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// What certbot lets a variable be long: for renew two of them, else one.
const (
	limitRenew = 16000
	limitOther = 32000
)

func names(ids []sdk.Identifier) string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, id.String())
	}
	return strings.Join(out, " ")
}

func deployVariables(e sdk.HookEvent) map[string]string {
	return map[string]string{"RENEWED_DOMAINS": names(e.Identifiers), "RENEWED_LINEAGE": filepath.Dir(e.Paths.Cert)}
}

// postVariables are as long as certbot lets them be. Only renew goes on after a
// failure there, so only renew names what failed.
func postVariables(e sdk.HookEvent, r sdk.Reporter) map[string]string {
	limit, failed := limitOther, ""
	if e.Verb == "renew" {
		limit, failed = limitRenew, names(e.FailedIdentifiers)
	}
	cut := func(name, value string) string {
		if len(value) <= limit {
			return value
		}
		r.Progress("", fmt.Sprintf("%s is cut to %d characters", name, limit))
		return value[:limit]
	}
	return map[string]string{
		"RENEWED_DOMAINS": cut("RENEWED_DOMAINS", names(e.RenewedIdentifiers)), "FAILED_DOMAINS": cut("FAILED_DOMAINS", failed),
	}
}

// inline is how long a value may be in the environment; a longer one is in its
// file only. The system allows 128 KiB for one, and less for all.
const inline = 16 << 10

// inFiles are the values that are in files too.
var inFiles = []string{"csr", "certificate", "certificate_raw", "error"}

// valueNames are the variables of acme2certifier's values.
func valueNames() []string {
	out := []string{"hook", "certificate_name", "order_name", "poll_identifier", "names", "dry_run"}
	for _, name := range inFiles {
		out = append(out, name, name+"_file")
	}
	return out
}

// values are what acme2certifier gives to its hooks, in the environment and, if
// they may be long, in files that exist as long as the command runs.
func (h *hooks) values(moment string, e sdk.HookEvent) (variables map[string]string, remove func(), err error) {
	variables = map[string]string{
		"hook": moment, "certificate_name": e.Lineage, "order_name": e.OrderURL, "names": names(e.Identifiers),
		"csr": base64.StdEncoding.EncodeToString(e.CSR),
	}
	if e.DryRun {
		variables["dry_run"] = "true"
	}
	switch moment {
	case "success":
		variables["certificate"] = string(e.FullchainPEM)
		variables["certificate_raw"] = base64.StdEncoding.EncodeToString(e.CertificateRaw)
		variables["poll_identifier"] = e.PollIdentifier
	case "post":
		variables["poll_identifier"] = e.PollIdentifier
		variables["error"] = ""
		if e.Problem != nil {
			// A variable ends at a zero.
			variables["error"] = strings.ReplaceAll(e.Problem.Error(), "\x00", "?")
		}
	}
	dir, err := os.MkdirTemp(h.stateDir, "values-")
	if err != nil {
		return nil, nil, fmt.Errorf("make a directory for the values of the %s command: %w", moment, err)
	}
	remove = func() { _ = os.RemoveAll(dir) } // what is left is swept later
	var errs []error
	for _, name := range inFiles {
		value, has := variables[name]
		if !has {
			continue
		}
		path := filepath.Join(dir, name)
		errs = append(errs, os.WriteFile(path, []byte(value), 0o600))
		variables[name+"_file"] = path
		if len(value) > inline {
			delete(variables, name)
		}
	}
	if err := errors.Join(errs...); err != nil {
		remove()
		return nil, nil, fmt.Errorf("write the values of the %s command: %w", moment, err)
	}
	return variables, remove, nil
}

// abandoned is when the values of a process that was killed are certainly not
// needed any more: other processes of the instance may be running commands.
const abandoned = 24 * time.Hour

// sweep removes what a process that was killed has left.
func sweep(stateDir string) {
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		return // the first command says what is wrong with it
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && strings.HasPrefix(entry.Name(), "values-") && time.Since(info.ModTime()) > abandoned {
			_ = os.RemoveAll(filepath.Join(stateDir, entry.Name()))
		}
	}
}
