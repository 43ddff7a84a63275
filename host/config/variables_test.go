package config

import (
	"slices"
	"testing"

	"github.com/certwright/certwright/host/internal/model"
)

func TestSecretVariables(t *testing.T) {
	flag, plain := "=env:FLAG", "no reference"
	c := &Config{
		Accounts: []Account{{EAB: &EAB{HMACKey: model.SecretRef{Env: "EAB"}}}, {EAB: &EAB{HMACKey: model.SecretRef{File: "/f"}}}, {}},
		Instances: []Instance{{Settings: map[string]Value{
			"token": {Any: map[string]any{"env": "TOKEN"}}, "file": {Any: map[string]any{"file": "/env"}},
			"env":  {Any: map[string]any{"A": map[string]any{"env": "DEEP"}, "B": "literal"}},
			"flag": {Text: &flag}, "plain": {Text: &plain}, "number": {Any: 5}, "list": {Any: []any{"env"}},
		}}},
	}
	got := c.SecretVariables()
	slices.Sort(got)
	if want := []string{"DEEP", "EAB", "FLAG", "TOKEN"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
