package main

import (
	"math/big"
	"regexp"
	"strings"
)

// The answers of haproxy's runtime API, as 2.6 gives them and later versions
// too. What is not exactly what is expected counts as a failure.

// isMaster tells the answer of a master to "show proc" from that of a worker,
// which does not know the command.
func isMaster(answer string) bool { return strings.HasPrefix(answer, "#<PID>") }

func isUnknownCommand(answer string) bool { return strings.HasPrefix(answer, "Unknown command") }

// isPermissionDenied also knows what 2.6 says at level user to "show ssl cert".
func isPermissionDenied(answer string) bool {
	return strings.HasPrefix(answer, "Permission denied") || strings.HasPrefix(answer, "Can't allocate memory!")
}

// isSuccess is for commands that work for a while, tell what they do and end
// with this word.
func isSuccess(answer string) bool {
	lines := strings.Split(answer, "\n")
	return strings.TrimSpace(lines[len(lines)-1]) == "Success!"
}

// inventory is the answer to "show ssl cert".
type inventory struct {
	files []string
	// open is the certificate of an unfinished transaction; empty: none. There
	// is never more than one.
	open string
}

// parseInventory gives false for what is another answer.
func parseInventory(answer string) (inventory, bool) {
	var out inventory
	section := ""
	for line := range strings.Lines(answer) {
		line = strings.TrimRight(line, "\r\n")
		name, starred := strings.CutPrefix(line, "*")
		switch {
		case line == "":
		case strings.HasPrefix(line, "# "):
			section = line
		case section == "# transaction" && starred:
			out.open = name
		case section == "# filename" && !starred:
			out.files = append(out.files, line)
		default:
			return inventory{}, false
		}
	}
	return out, true
}

// parseListed reads the answer to "show ssl crt-list", and with a list's name
// its entries, which come after a comment. false: another answer.
func parseListed(answer string) ([]string, bool) {
	var out []string
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "didn't find the specified filename"), isUnknownCommand(line), isPermissionDenied(line):
			return nil, false
		}
		out = append(out, line)
	}
	return out, true
}

// detail is the answer to "show ssl cert FILE".
type detail struct {
	// status is "Used", "Unused" or "Empty".
	status string
	// serial of the leaf; nil: there is none yet.
	serial *big.Int
}

func parseDetail(answer string) (detail, bool) {
	var out detail
	for line := range strings.Lines(answer) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "Status":
			out.status = value
		case "Serial":
			if n, ok := new(big.Int).SetString(value, 16); ok {
				out.serial = n
			}
		}
	}
	return out, strings.HasPrefix(answer, "Filename:") && out.status != ""
}

var transactionPattern = regexp.MustCompile(`^Transaction (created|updated) for certificate (.+)!$`)

// parseTransaction reads the answer to "set ssl cert". If a transaction is open
// already, haproxy puts the new content into that one, whatever the certificate
// that was asked for.
func parseTransaction(answer string) (file string, created, ok bool) {
	lines := strings.Split(answer, "\n")
	m := transactionPattern.FindStringSubmatch(strings.TrimSpace(lines[len(lines)-1]))
	if m == nil {
		return "", false, false
	}
	return m[2], m[1] == "created", true
}

// isNoMap is what is said to a map that the configuration does not name.
func isNoMap(answer string) bool { return strings.HasPrefix(answer, "Unknown map identifier") }

// isNoEntry is what "del map" says to a key that is not there.
func isNoEntry(answer string) bool { return strings.HasPrefix(answer, "Key not found") }

var entryPattern = regexp.MustCompile(`(?:^|, )found=yes(?:, .*)?, key="(.*?)", value="(.*?)"(?:, |$)`)

// parseEntry reads the answer to "get map": one line for each way in which the
// configuration searches the map. found: at least one of them finds this key.
func parseEntry(answer, key string) (value string, found, ok bool) {
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if !strings.HasPrefix(line, "type=") {
			return "", false, false
		}
		if m := entryPattern.FindStringSubmatch(line); m != nil && m[1] == key {
			value, found = m[2], true
		}
	}
	return value, found, true
}

// isAborted: "Transaction aborted for certificate 'F'!", or there was none.
func isAborted(answer string) bool {
	return strings.HasPrefix(answer, "Transaction aborted for certificate ") || strings.HasPrefix(answer, "No ongoing transaction!") ||
		strings.HasPrefix(answer, "The ongoing transaction is about ")
}

// isCreated: "New empty certificate store 'F'!".
func isCreated(answer string) bool { return strings.HasPrefix(answer, "New empty certificate store ") }

// isDeleted: "Certificate 'F' deleted!".
func isDeleted(answer string) bool {
	return strings.HasPrefix(answer, "Certificate ") && strings.HasSuffix(answer, " deleted!")
}

// isTakenOut: "Entry 'F' deleted in crtlist 'L'!".
func isTakenOut(answer string) bool {
	return strings.HasPrefix(answer, "Entry ") && strings.Contains(answer, " deleted in crtlist ")
}

// parseNumbered reads a line of "show ssl crt-list -n": FILE:NUMBER and what
// follows.
func parseNumbered(line string) (file, number string) {
	first, _, _ := strings.Cut(line, " ")
	colon := strings.LastIndexByte(first, ':')
	if colon < 0 {
		return first, ""
	}
	return first[:colon], first[colon+1:]
}
