package pluginhost

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/certwright/certwright/sdk"
)

// ResourceKeys gives what an instance with these settings claims for itself
// alone, as "kind/value" or as "kind" where there is no value: "tcp/80",
// "stdout", "server/etc/nginx", "instance/web". Settings that are not given count
// with their defaults. Equal claims have equal keys; they are sorted.
func ResourceKeys(d sdk.Description, instance string, settings map[string]any) []string {
	var keys []string
	for _, r := range d.ExclusiveResources {
		if r.Kind == sdk.InstanceResource {
			keys = append(keys, r.Kind+"/"+instance)
			continue
		}
		for _, value := range resourceValues(d, r.Value, settings) {
			if key, ok := resourceKey(r.Kind, value); ok {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// resourceValues resolves a value; a list in a setting claims each of its items.
func resourceValues(d sdk.Description, v sdk.Value, settings map[string]any) []string {
	if v.Setting == "" {
		return []string{v.Literal}
	}
	switch value := settings[v.Setting].(type) {
	case nil:
		for _, s := range d.Settings {
			if s.Name == v.Setting {
				return []string{s.Default}
			}
		}
		return []string{""}
	case []string:
		return value
	case []any:
		var out []string
		for _, item := range value {
			out = append(out, fmt.Sprint(item))
		}
		return out
	default:
		return []string{fmt.Sprint(value)}
	}
}

// resourceKey brings a value into the one form that all who claim it share.
func resourceKey(kind, value string) (string, bool) {
	switch {
	case value == "":
		return kind, true
	case kind == "tcp":
		port, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", value)
		if err == nil && port == 0 {
			return "", false // the kernel chooses one: nobody else has it
		}
		if err == nil {
			value = strconv.Itoa(port)
		}
	case filepath.IsAbs(value):
		return kind + filepath.Clean(value), true
	}
	return kind + "/" + value, true
}
