// Package pluginv1 is the plugin contract as generated from plugin.proto. The
// sdk and its client translate it; nobody else needs it.
package pluginv1
