package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/certwright/certwright/sdk/plugintest"
)

// count is one line of the score card.
type count struct {
	Passed        int `json:"passed"`
	Failed        int `json:"failed"`
	NotApplicable int `json:"not_applicable"`
	// Unseen are those of NotApplicable that would apply if plugincheck were told more.
	Unseen int `json:"unseen"`
}

func (c *count) add(step plugintest.Step) {
	switch step.Outcome {
	case plugintest.Passed:
		c.Passed++
	case plugintest.NotApplicable:
		c.NotApplicable++
		if step.Unseen {
			c.Unseen++
		}
	default:
		c.Failed++
	}
}

// card is the last line of --json.
type card struct {
	count
	Categories map[string]*count `json:"categories"`
}

// check runs the suite, prints as it goes and gives the exit code.
func check(ctx context.Context, s plugintest.Suite, asJSON bool, w io.Writer) int {
	total := card{Categories: map[string]*count{}}
	for _, category := range plugintest.Categories() {
		total.Categories[category] = &count{}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	steps := plugintest.Check(ctx, s, func(step plugintest.Step) {
		total.add(step)
		total.Categories[step.Category].add(step)
		if asJSON {
			_ = encoder.Encode(step)
			return
		}
		printStep(w, step)
	})
	if asJSON {
		_ = encoder.Encode(total)
	} else {
		printCard(w, total, steps)
	}
	if total.Failed > 0 {
		return exitFailed
	}
	return exitPassed
}

// printStep tells of a check when it ends. What does not concern the plugin is
// only summed up in the card.
func printStep(w io.Writer, step plugintest.Step) {
	switch step.Outcome {
	case plugintest.Passed:
		fmt.Fprintf(w, "ok    %s\n", step.Name)
	case plugintest.NotApplicable:
		if step.Unseen {
			fmt.Fprintf(w, "n.a.  %s: %s\n", step.Name, step.Text)
		}
	default:
		fmt.Fprintf(w, "FAIL  %s: %s\n", step.Name, step.Obligation)
		for _, line := range strings.Split(step.Text, "\n") {
			fmt.Fprintf(w, "      %s\n", line)
		}
	}
}

func printCard(w io.Writer, total card, steps []plugintest.Step) {
	fmt.Fprintf(w, "\n%-14s %6s %6s %6s\n", "score card", "ok", "failed", "n.a.")
	for _, category := range plugintest.Categories() {
		c := total.Categories[category]
		fmt.Fprintf(w, "%-14s %6d %6d %6d\n", category, c.Passed, c.Failed, c.NotApplicable)
	}
	var reasons []string
	because := map[string]int{}
	heading := "\nto mend:\n"
	for _, step := range steps {
		switch {
		case step.Outcome == plugintest.Failed:
			fmt.Fprintf(w, "%s  %s: %s\n", heading, step.Name, step.Mend)
			heading = ""
		case step.Outcome == plugintest.NotApplicable && !step.Unseen:
			if because[step.Text] == 0 {
				reasons = append(reasons, step.Text)
			}
			because[step.Text]++
		}
	}
	heading = "\nnot applicable:\n"
	for _, reason := range reasons {
		fmt.Fprintf(w, "%s  %d, since %s\n", heading, because[reason], reason)
		heading = ""
	}
	if total.Unseen > 0 {
		fmt.Fprintf(w, "%s  %d, since plugincheck was not told enough; see the lines n.a. above\n", heading, total.Unseen)
	}
	fmt.Fprintf(w, "\n%d ok, %d failed, %d n.a.\n", total.Passed, total.Failed, total.NotApplicable)
}
