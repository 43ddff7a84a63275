// Package script runs the user's scripts and commands for a plugin, so that one
// that hangs, floods, leaves processes behind, dies or cannot be started ends in
// an error that says so.
//
//	result, err := script.Run(ctx, script.Command{
//		Name: "the reload command", Line: "systemctl reload nginx",
//		Env: script.Environ(map[string]string{"RENEWED_LINEAGE": dir}), Limit: time.Minute,
//	})
//
// A command is in a process group of its own, which is ended as a whole when the
// context or the time limit ends: by SIGTERM, two seconds later by SIGKILL. It
// ends with the plugin's process too, however that ends: another process, a
// shell, leads the group and sees to that. Its standard input is empty
// unless it is given one; what it prints is kept up to a limit. A process that
// it leaves in the background when it ends by itself is left alone, as a shell
// would; one that holds the output is not waited for, but told of by
// [Result.Warn].
//
// The error of [Run] is an [sdk.Problem] with the end of the output as its
// detail; [Result.Exited] tells an exit with another code than 0 from everything
// else that may happen.
package script
