// Package pluginv1 is certwright.plugin.v1 as it was generated for the first
// release. It is never generated again: a plugin that is out there is not either.
package pluginv1
