//go:build slow

package main

import "testing"

// httpd accepts every file of the corpus, before and after a deployment.
func TestWholeCorpusIsAccepted(t *testing.T) {
	inCorpus(t, func(string) bool { return true })
}
