// Package pluginhost finds plugin binaries, decides whether to trust them, runs
// one process per configured instance and ends every one of them.
//
// # Search
//
// [SearchPath] gives the directories in order. The first that holds
// certwright-plugin-NAME decides: if that binary is refused, no later directory
// is looked into.
//
// # Trust
//
// A binary is executed only if the file, every directory on the way to it and
// every symbolic link on that way are owned by root or by the effective user
// (by root alone when the host runs as root), and if nobody else can write to
// them: not the world, and no group but root's or, for a user, his own primary
// group. A directory with the sticky bit may be writable. The file is checked
// on the open descriptor, and that descriptor is what Linux executes. Nothing
// overrides the rule, and it is applied before `describe` is run too. Only what
// the user names as work in progress ([Dev]) is taken from anywhere.
//
// # Launch
//
//  1. `certwright-plugin-x describe` prints the description: settings are
//     checked and the environment is chosen by it before anything is served.
//  2. The state directory of the instance and a private directory for its
//     socket are made, both 0700.
//  3. The binary is opened and checked once more; package sandbox starts it in
//     its own process group, to be killed with the host, with a lifeline as
//     standard input and with nothing of the host's environment but what
//     [environment] names.
//  4. go-plugin gets the handshake line only, once it was found good. Whatever
//     else the process prints goes through a pump that parses tolerantly,
//     limits the rate, masks secrets and keeps the last words.
//  5. Describe and Configure go over the connection, which both sides have
//     authenticated (AutoMTLS).
//
// # End
//
// [Instance.Stop] asks the plugin to drain, shuts the server down and kills the
// process group. Every wait has a bound, and a pipe that a grandchild holds is
// closed on this side. A process that dies by itself is reported by each call
// that it broke, with its exit status and last words.
package pluginhost
