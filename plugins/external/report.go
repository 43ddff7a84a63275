package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// Priorities of messages.
const (
	high   int64 = 0
	medium int64 = 1
)

// message is one entry of the report. All of them are for crashes too: there is
// no message that only makes sense after a good end.
type message struct {
	priority int64
	lines    []string
}

// Run is told what happens, and reports once at the end.
func (e *external) Run(_ context.Context, event sdk.HookEvent, r sdk.Reporter) (sdk.HookResult, error) {
	switch event.Event {
	case sdk.EventPre:
		return sdk.HookResult{}, e.possible()
	case sdk.EventSuccess:
		e.mu.Lock()
		defer e.mu.Unlock()
		e.told[event.Lineage] = true
		e.obtained = append(e.obtained, message{medium, []string{fmt.Sprintf(
			"Congratulations! The certificate %s and its chain are saved at %s. It will expire on %s. "+
				"To obtain a new or changed version of it, run certwright again; \"certwright renew\" renews all certificates that are due.",
			event.Lineage, event.Paths.Fullchain, event.NotAfter.UTC().Format("2006-01-02"))}})
	case sdk.EventFinish:
		e.say(e.report(event), r)
	}
	return sdk.HookResult{}, nil
}

// report tells what went wrong first, as certbot's did: by priority.
func (e *external) report(event sdk.HookEvent) object {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []message
	priority := medium // what was warned of
	if event.Outcome != "ok" {
		priority = high
	}
	for _, text := range event.Messages {
		all = append(all, message{priority, strings.Split(strings.TrimRight(text, "\n"), "\n")})
	}
	all = append(all, e.obtained...)
	for _, name := range event.Renewed {
		if !e.told[name] { // by a process before this one
			all = append(all, message{medium, []string{"The certificate " + name + " has been obtained."}})
		}
	}
	messages := []object{}
	for _, m := range all {
		if e.instance.Quiet && m.priority != high {
			continue
		}
		messages = append(messages, object{{"priority", m.priority}, {"on_crash", true}, {"lines", m.lines}})
	}
	return object{{"cmd", "report"}, {"messages", messages}}
}
