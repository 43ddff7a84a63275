package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

const (
	// callLimit bounds one question to the socket, unless the call's own
	// deadline is nearer.
	callLimit = 20 * time.Second
	// answerLimit bounds an answer, in bytes: one that lists every certificate of
	// a large installation fits.
	answerLimit = 16 << 20
	// quoteLimit bounds what an error quotes of an answer, in bytes.
	quoteLimit = 400
)

// What the socket may say to every command; the errors of a call wrap them.
var (
	errNotRunning = errors.New("nothing listens there")
	errLevel      = errors.New("the socket does not allow it")
	errUnknown    = errors.New("this haproxy does not know the command")
	errSilent     = errors.New("haproxy closed the connection without an answer")
)

// runtime speaks haproxy's runtime API: one connection for each command, which
// haproxy closes after its answer. The answer has no status, only text.
type runtime struct {
	// address is a path, or host:port.
	address string
	// step is called before each command; see haproxy.step.
	step func(what string)

	// mu guards what is found out once. A master's socket passes a command on to
	// its worker only if it begins with a target.
	mu     sync.Mutex
	known  bool
	target string
}

// ask gives the answer to one command, without the white space around it. A
// payload must not hold an empty line, which would end it.
func (r *runtime) ask(ctx context.Context, command string, payload []byte) (string, error) {
	target, err := r.prefix(ctx)
	if err != nil {
		return "", err
	}
	r.step("runtime: " + command)
	return r.exchange(ctx, target+command, payload)
}

// prefix is what a command begins with.
func (r *runtime) prefix(ctx context.Context) (string, error) {
	r.mu.Lock()
	known, target := r.known, r.target
	r.mu.Unlock()
	if known {
		return target, nil
	}
	return r.probe(ctx)
}

// probe finds out whether something listens, and whether it is a master.
func (r *runtime) probe(ctx context.Context) (string, error) {
	answer, err := r.exchange(ctx, "show proc", nil)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.target = true, ""
	if isMaster(answer) {
		r.target = "@1 "
	}
	return r.target, nil
}

func (r *runtime) exchange(ctx context.Context, command string, payload []byte) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	answer, err := r.talk(ctx, command, payload)
	if err != nil {
		return "", fmt.Errorf("ask haproxy at %s to %q: %w", r.address, command, err)
	}
	return answer, nil
}

func (r *runtime) talk(ctx context.Context, command string, payload []byte) (string, error) {
	network := "tcp"
	if filepath.IsAbs(r.address) {
		network = "unix"
	}
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, network, r.address)
	if err != nil {
		return "", explainDial(err)
	}
	defer func() { _ = conn.Close() }()
	// Whatever ends the call ends the read.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	text := command + "\n"
	if payload != nil {
		text = command + " <<\n" + string(payload) + "\n"
	}
	// Haproxy may refuse a long text while we write: what it says then is read.
	_, writeErr := io.WriteString(conn, text)
	// A master answers once it knows that nothing follows.
	if half, ok := conn.(interface{ CloseWrite() error }); ok && writeErr == nil {
		writeErr = half.CloseWrite()
	}
	answer, err := io.ReadAll(io.LimitReader(conn, answerLimit))
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case len(strings.TrimSpace(string(answer))) > 0:
		return strings.TrimSpace(string(answer)), nil
	case err != nil && !errors.Is(err, syscall.ECONNRESET):
		return "", err
	case writeErr != nil || len(answer) == 0 || err != nil:
		return "", errSilent
	}
	return "", nil
}

func explainDial(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %w", errNotRunning, err)
	case errors.Is(err, fs.ErrPermission):
		err = sdk.WithCode(err, sdk.PermissionDenied)
		return sdk.Hint(err, "run certwright as root, or give its user access to the socket: see user, group and mode of \"stats socket\"")
	}
	return err
}

// judge turns an answer that is not the one that was hoped for into an error.
func judge(doing, answer string) error {
	switch {
	case isUnknownCommand(answer):
		return fmt.Errorf("%s: %w", doing, errUnknown)
	case isPermissionDenied(answer):
		return fmt.Errorf("%s: %w (%s)", doing, errLevel, quote(answer))
	}
	return fmt.Errorf("%s: haproxy answers: %s", doing, quote(answer))
}

// quote makes an answer fit for an error: on one line, not too long.
func quote(answer string) string {
	answer = strings.ToValidUTF8(strings.Join(strings.Fields(answer), " "), "?")
	if len(answer) > quoteLimit {
		answer = strings.ToValidUTF8(answer[:quoteLimit], "") + " …"
	}
	if answer == "" {
		return "nothing"
	}
	return answer
}
