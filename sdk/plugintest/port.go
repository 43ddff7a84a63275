package plugintest

import "testing"

// Port is one of 127.0.0.1 that is the test's until it ends; see [ReservePort].
func Port(t testing.TB) int {
	t.Helper()
	port, release, err := ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}
