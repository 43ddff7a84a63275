//go:build slow

package main

import "testing"

func TestTheSameCallsAsDehydratedEverywhere(t *testing.T) {
	for name, c := range map[string]comparison{
		"two names": {dns01, []string{"a.test", "b.test"}, "", false, []string{
			"generate_csr", "deploy_challenge", "deploy_challenge", "clean_challenge", "clean_challenge", "sync_cert",
		}},
		"wildcard and base name": {dns01, []string{"base.test", "*.base.test"}, "", false, []string{
			"generate_csr", "deploy_challenge", "deploy_challenge", "clean_challenge", "clean_challenge", "sync_cert",
		}},
		"HOOK_CHAIN": {dns01 + "HOOK_CHAIN=yes\n", []string{"a.test", "b.test"}, "", false, []string{
			"generate_csr", "deploy_challenge", "clean_challenge", "sync_cert", "deploy_cert",
		}},
		"HOOK_CHAIN with a wildcard": {dns01 + "HOOK_CHAIN=yes\n", []string{"base.test", "*.base.test"}, "", false, []string{
			"generate_csr", "deploy_challenge", "clean_challenge", "sync_cert", "deploy_cert",
		}},
		"a request that the CA refuses": {dns01, []string{"refused.test"}, "blocked", false, []string{
			"startup_hook", "generate_csr", "request_failure", "exit_hook",
		}},
		"an unchanged certificate": {dns01, []string{"one.test"}, "", true, []string{
			"startup_hook", "generate_csr", "unchanged_cert", "exit_hook",
		}},
	} {
		t.Run(name, c.run)
	}
}
