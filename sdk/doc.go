// Package sdk is what the author of a Certwright plugin imports.
//
// A plugin is a program: it implements [Authenticator], [Installer] or [Hook],
// and its main calls [Serve]. Start with [OneByOne] for an authenticator that
// handles one challenge at a time, and with [DNS] for one that has a DNS API.
// Settings are a struct with tags ([Plugin.Settings]); failures are errors,
// best made with [Permanent], [RetryAfter] and [Hint].
//
// The host owns the account key, the order with the CA, the waiting, the
// retrying and the undoing; a plugin does one small thing and may fail at it.
// Nothing here needs knowledge of ACME messages, of gRPC or of the handshake.
//
// Compatibility: within a major of certwright.plugin.vN nothing exported here
// changes its meaning; a plugin built once works with every host that supports
// that major.
package sdk
