// Package plugintest checks that a plugin binary, in whatever language it is
// written, keeps the contract of certwright.plugin.v1. It starts the binary as
// a host would, needs no CA, and looks itself whether a challenge is in place.
//
// In a Go test:
//
//	func TestConformance(t *testing.T) {
//		plugintest.Run(t, plugintest.Suite{
//			Binary:      binary, // .../certwright-plugin-NAME
//			Settings:    map[string]any{"path": root},
//			WebrootPath: root,
//		})
//	}
//
// Without Go: the command plugincheck does the same from a shell. Every check
// has a name that stays the same, an obligation, and a failure text that says
// what to change. What a plugin's role does not concern is "not applicable",
// which is not the same as passed.
package plugintest
