//go:build !slow

package main

// everyShell: each real server and each HTTP client is tried in every shell.
const everyShell = false
