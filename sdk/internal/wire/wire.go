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

	// ReattachKey is set by an author for a host that is to attach to plugins that
	// run already: a JSON object of Reattach by plugin.
	ReattachKey = "CERTWRIGHT_REATTACH"

	// MaxMessage bounds one gRPC message, in bytes.
	MaxMessage = 16 << 20
)

// Reattach says where a plugin listens that its author has started.
type Reattach struct {
	Protocol        string `json:"protocol"`
	ProtocolVersion int    `json:"protocol_version"`
	PID             int    `json:"pid"`
	Network         string `json:"network"`
	Address         string `json:"addr"`
}
