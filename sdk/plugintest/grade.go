package plugintest

import (
	"slices"
	"strings"
)

// The lines of the score card.
const (
	Contract     = "contract"
	CrashSafety  = "crash safety"
	Cancellation = "cancellation"
	Faults       = "faults"
	Grease       = "grease"
	Settings     = "settings"
	Describing   = "description"
)

// Categories are all of them, in order.
func Categories() []string {
	return []string{Describing, Settings, Contract, CrashSafety, Cancellation, Faults, Grease}
}

// grade says where a check counts, and how its failure is mended.
type grade struct{ category, mend string }

// gradeOf knows the three challenge types as one.
func gradeOf(check string) grade {
	if kind, rest, ok := strings.Cut(check, "/"); ok && slices.Contains(knownTypes, kind) {
		check = "TYPE/" + rest
	}
	if g, ok := grades[check]; ok {
		return g
	}
	return grade{category: Contract}
}

var grades = map[string]grade{
	"describe/json":     {Describing, "on the argument describe print one JSON object to stdout and exit with 0, before anything else"},
	"describe/name":     {Describing, "name the binary certwright-plugin-NAME, where NAME is what the description says"},
	"describe/complete": {Describing, "complete the description, see docs/protocol.md"},
	"describe/rpc":      {Describing, "make the printed description and the answer to Describe from one source"},

	"configure/accept":        {Settings, "let Configure accept the settings given, or give the suite settings that work"},
	"configure/missing":       {Settings, "refuse a missing setting with INVALID_CONFIG and its name as subject"},
	"configure/unknown":       {Settings, "refuse an unknown setting with INVALID_CONFIG and its name as subject"},
	"configure/wrong-type":    {Settings, "check the type of each setting, and refuse with INVALID_CONFIG and its name as subject"},
	"configure/secret":        {Settings, "take secrets from the field secrets only"},
	"configure/validate-only": {Settings, "with validate_only check what was given and return: open, write and ask nothing"},

	"wire/unknown-fields":        {Grease, "ignore fields that you do not know"},
	"wire/unknown-rpc":           {Grease, "answer an unknown rpc with UNIMPLEMENTED, as gRPC servers do"},
	"authenticator/unknown-type": {Grease, "answer a challenge of an unknown type with UNSUPPORTED, and go on with the others"},
	"hook/unknown-event":         {Grease, "end the stream of an unknown event with done and without a problem"},

	"wire/stdout":             {Contract, "write logs to stderr; stdout is for the handshake line only"},
	"wire/secrets":            {Contract, "print no secret: not in logs, problems, receipts or progress"},
	"TYPE/perform":            {Contract, "send one result with the id of each challenge, then done"},
	"TYPE/seen":               {Contract, "report a challenge only once its response can be seen"},
	"TYPE/cleanup":            {Contract, "remove in Cleanup what Perform put in place"},
	"TYPE/same-operation":     {Contract, "look whether the value is there before you add it"},
	"TYPE/foreign":            {Contract, "add and remove single values; never replace or delete a whole record set or directory"},
	"TYPE/concurrent":         {Contract, "guard what calls share by a lock, and remove only what belongs to the challenges of the call"},
	"authenticator/prefer":    {Contract, "answer once for each identifier, in their order"},
	"hook/events":             {Contract, "end the stream of each event with done"},
	"installer/deploy-stages": {Contract, "remember in Deploy what is to be written, and write in Save"},
	"installer/round-trip":    {Contract, "let each of these calls end with done and without a problem"},
	"installer/seen":          {Contract, "write the leaf into each file that serves it, once"},
	"installer/deploy-twice":  {Contract, "replace what is staged or deployed already, instead of adding to it"},
	"installer/dry-run":       {Contract, "with dry_run report a result with a diff, and write nothing"},
	"installer/rollback":      {Contract, "keep what was there in a checkpoint, and bring it back"},
	"installer/names":         {Contract, "give every site an id"},
	"life/health":             {Contract, "count in Health the calls that run"},

	"TYPE/cleanup-new-process": {CrashSafety, "take what to remove from the challenge, not from memory or receipt"},
	"TYPE/cleanup-nothing":     {CrashSafety, "take what is not there as removed"},
	"TYPE/cleanup-twice":       {CrashSafety, "take what is not there any more as removed"},
	"faults/killed":            {CrashSafety, "take what to remove from the challenge, not from memory or receipt"},
	"installer/crash":          {CrashSafety, "write what was there into the state directory before you change a file"},
	"life/sigterm":             {CrashSafety, "handle SIGTERM, SIGINT and SIGHUP by doing nothing"},
	"life/host-gone":           {CrashSafety, "read stdin to its end in the background, and exit there"},

	"TYPE/cancel":   {Cancellation, "end Perform when the stream is cancelled"},
	"faults/cancel": {Cancellation, "give the context of the call to every request"},
	"life/drain":    {Cancellation, "name in Drain only calls that still run"},

	"faults/slow":        {Faults, "wait for answers for as long as the call's deadline allows"},
	"faults/rate-limit":  {Faults, "on 429 report RATE_LIMITED, RETRYABLE and retry_after from Retry-After, or wait and try again"},
	"faults/unavailable": {Faults, "on 5xx and SERVFAIL report UNAVAILABLE and RETRYABLE"},
	"faults/cut-off":     {Faults, "on a connection that breaks report UNAVAILABLE and RETRYABLE"},
	"faults/lost-answer": {Faults, "before adding a value look whether it is there, since an earlier try may have added it"},
	"faults/cleanup":     {Faults, "return the error of a removal that failed"},
	"faults/deploy":      {Faults, "report what the server refused as UNAVAILABLE and RETRYABLE, and let Rollback leave nothing of it"},
	"faults/no-place":    {Faults, "return the error of a write that failed"},
}
