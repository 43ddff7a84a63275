package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// The test binary, under the name of the plugin, is the plugin with a point at
// which it is killed: the host starts it as it does the real one.
func TestMain(m *testing.M) {
	if steps := plugintest.StartedAs("varnish"); steps != nil {
		v := newVarnish()
		v.step = steps.At
		sdk.Serve(declaration(v))
		os.Exit(0)
	}
	// Pebble's validator is never stopped.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}
