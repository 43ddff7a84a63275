package script

import (
	"fmt"

	"github.com/certwright/certwright/sdk"
)

// Warning says what the user is to know of a process that the command has left in
// the background with its output, if there is one; nil otherwise.
func (r Result) Warning() *sdk.Problem {
	if !r.Held {
		return nil
	}
	p := sdk.Problemf(sdk.Unavailable, "%s ended, and left a process in the background that keeps its output open", r.name)
	p.Detail = "what that one prints now is lost, and may end it once certwright has ended"
	p.Hint = "start what is to go on by the service manager, or with its output sent elsewhere"
	return p
}

// Warn tells the user the [Result.Warning], if there is one.
func (r Result) Warn(to sdk.Reporter) {
	if p := r.Warning(); p != nil {
		to.Say(sdk.Stderr, fmt.Sprintf("warning: %v; %s\n", p, p.Hint))
	}
}
