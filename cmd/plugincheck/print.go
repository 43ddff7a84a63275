package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/certwright/certwright/sdk/plugintest"
)

// count is the last line.
type count struct {
	Passed        int `json:"passed"`
	Failed        int `json:"failed"`
	NotApplicable int `json:"not_applicable"`
}

// check runs the suite, prints as it goes and gives the exit code.
func check(ctx context.Context, s plugintest.Suite, asJSON bool, w io.Writer) int {
	var c count
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	plugintest.Check(ctx, s, func(step plugintest.Step) {
		switch step.Outcome {
		case plugintest.Passed:
			c.Passed++
		case plugintest.NotApplicable:
			c.NotApplicable++
		default:
			c.Failed++
		}
		if asJSON {
			_ = encoder.Encode(step)
			return
		}
		printStep(w, step)
	})
	if asJSON {
		_ = encoder.Encode(c)
	} else {
		fmt.Fprintf(w, "%d ok, %d failed, %d n.a.\n", c.Passed, c.Failed, c.NotApplicable)
	}
	if c.Failed > 0 {
		return exitFailed
	}
	return exitPassed
}

func printStep(w io.Writer, step plugintest.Step) {
	switch step.Outcome {
	case plugintest.Passed:
		fmt.Fprintf(w, "ok    %s\n", step.Name)
	case plugintest.NotApplicable:
		fmt.Fprintf(w, "n.a.  %s: %s\n", step.Name, step.Text)
	default:
		fmt.Fprintf(w, "FAIL  %s: %s\n", step.Name, step.Obligation)
		for _, line := range strings.Split(step.Text, "\n") {
			fmt.Fprintf(w, "      %s\n", line)
		}
	}
}
