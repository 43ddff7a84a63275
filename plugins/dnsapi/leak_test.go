package main

import (
	"testing"

	"go.uber.org/goleak"
)

// Pebble's validator never ends.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}
