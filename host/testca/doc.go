// Package testca runs an ACME CA and a DNS server for it inside the calling
// process: Pebble's own packages on a loopback HTTPS listener, so that the demo
// and every test can ask a real server, with real validation, for certificates
// that nobody trusts.
//
//	ca, err := testca.Start(ctx, testca.Options{HTTPPort: port})
//	defer ca.Close()
//	// directory: ca.DirectoryURL(); its TLS roots: ca.TLSRoots()
//
// Every name resolves to 127.0.0.1 unless [CA.DNS] was told otherwise.
//
// Two things about Pebble v2.10.1 are worth knowing. Its handlers take the locks
// of an authorization and of the store in different orders, so that concurrent
// requests can deadlock it (seen with some 16 newOrder requests at once, possible
// with three): this package lets one request in at a time, but a Pebble that is
// started from its own binary has no such guard. And its validator runs in
// goroutines of its own that cannot be stopped from outside: after [CA.Close] one
// (processTasks) stays for good, and a validation that was under way ends by
// itself.
package testca
