package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/sdk"
)

// apart refuses two targets of one transaction that edit the same server's
// configuration: what one has written could not be undone without the other.
func apart(item model.Item, mine map[string]*member) error {
	if !item.Request.AllOrNothing || item.Action == model.None {
		return nil
	}
	claimed := map[string]string{}
	for _, name := range item.Deploy {
		m := mine[name]
		if m == nil {
			continue
		}
		for _, key := range guarded(m.description, m.config) {
			if other, taken := claimed[key]; taken && other != name {
				return &report.UsageError{Err: sdk.Hint(
					fmt.Errorf("%s: the instances %s and %s both edit %s, so they cannot be deployed to all or nothing", item.Request.Name, other, name, key),
					"use one instance for both, or leave all or nothing out")}
			}
			claimed[key] = name
		}
	}
	return nil
}

// canEnhance refuses what nobody would do. The targets that cannot are left out
// if one of them can, unless they are named.
func canEnhance(item model.Item, w Want, mine map[string]*member) error {
	if item.Action == model.None {
		return nil
	}
	able, unable := false, []string(nil)
	for _, name := range item.Deploy {
		m := mine[name]
		if m == nil {
			return nil // another error
		}
		if slices.Contains(m.description.Features, sdk.FeatureEnhance) {
			able = true
			continue
		}
		if unable = append(unable, name); len(w.Enhance[name]) > 0 {
			return unableTo(item.Request.Name, unable)
		}
	}
	if len(item.Request.Enhance) == 0 || able || !w.MustEnhance && len(item.Deploy) < len(item.Request.Deploy) {
		return nil
	}
	return unableTo(item.Request.Name, unable)
}

func unableTo(lineage string, instances []string) error {
	what := "no installer is named that could do so"
	if len(instances) > 0 {
		what = fmt.Sprintf("the plugin of %s cannot", strings.Join(instances, ", "))
	}
	return &report.UsageError{Err: sdk.Hint(
		fmt.Errorf("%s: set a redirect or HSTS: %s", lineage, what),
		`see certwright plugins list for installers with the feature "enhance", such as nginx and apache, or leave it out`)}
}
