// Package wire holds the constants of the handshake that both ends of a plugin
// connection must agree on.
package wire

// What both ends must agree on.
const (
	// CookieKey and CookieValue tell a plugin binary that a host started it.
	// They are no secret: they only keep a person from running it by mistake.
	CookieKey   = "CERTWRIGHT_PLUGIN_COOKIE"
	CookieValue = "6f0d6e5a3b0c4bb5a1c27d3c1b0d7d34a2a1e9f0c7be4e7f8f9a5d1b2c3e4f56"

	// Major is the protocol major: the N of certwright.plugin.vN.
	Major = 1

	// PluginName is the one entry of go-plugin's plugin set; roles are gRPC
	// services on its connection.
	PluginName = "certwright"

	// LifelineKey is set to "stdin" by a host that keeps the write end of the
	// plugin's standard input open for as long as it lives.
	LifelineKey = "CERTWRIGHT_LIFELINE"

	// MaxMessage bounds one gRPC message, in bytes.
	MaxMessage = 16 << 20
)
