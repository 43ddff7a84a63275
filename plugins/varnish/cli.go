package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

// Status codes of varnish-cli(7).
const (
	cliTruncated = 201
	cliAuth      = 107
	cliOK        = 200
)

const (
	dialLimit = 10 * time.Second
	// commandLimit is long: vcl.inline runs the C compiler, on a busy machine.
	commandLimit = 2 * time.Minute
	answerLimit  = 64 << 20
	// headerSize is that of "200 1234567 \n".
	headerSize = 13
	quoteLimit = 2 << 10
)

// errNotRunning: nobody listens where varnishd's command line should be.
var errNotRunning = errors.New("varnishd is not running")

// cli is one connection to varnishd's command line.
type cli struct {
	address string
	conn    net.Conn
	// step is called before each command; see varnish.step.
	step func(what string)
}

// target is where varnishd listens and what it wants to hear.
type target struct {
	// addresses are tried in turn.
	addresses  []string
	secretFile string
}

// dial connects and proves, if asked, that we know the secret.
func dial(ctx context.Context, t target, step func(string)) (*cli, error) {
	var errs []error
	for _, address := range t.addresses {
		c, err := connect(ctx, address, t.secretFile, step)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func connect(ctx context.Context, address, secretFile string, step func(string)) (*cli, error) {
	limited, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(limited, "tcp", address)
	if err != nil {
		return nil, explainDial(ctx, address, err)
	}
	c := &cli{address: address, conn: conn, step: step}
	if err := c.greet(limited, secretFile); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func explainDial(ctx context.Context, address string, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		err = sdk.WithCode(fmt.Errorf("%w: nothing listens on %s", errNotRunning, address), sdk.NotRunning)
		return sdk.Hint(sdk.RetryAfter(err, 0), "start it, for instance by: systemctl start varnish; if it runs, set address to its option -T")
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		err = sdk.WithCode(fmt.Errorf("connect to varnishd at %s: %w", address, err), sdk.PermissionDenied)
		return sdk.Hint(sdk.Subject(err, "address"), "set address to varnishd's option -T: the sandbox lets nothing else through")
	}
	err = sdk.RetryAfter(sdk.WithCode(fmt.Errorf("connect to varnishd at %s: %w", address, err), sdk.Unavailable), 0)
	return sdk.Hint(sdk.Subject(err, "address"), "set address to varnishd's option -T")
}

func (c *cli) close() { _ = c.conn.Close() }

// greet reads the banner, and answers the challenge that may come instead: the
// hash of the challenge, the secret and the challenge again.
func (c *cli) greet(ctx context.Context, secretFile string) error {
	status, text, err := c.read(ctx)
	if err != nil {
		return fmt.Errorf("read the greeting of varnishd at %s: %w", c.address, err)
	}
	if status == cliAuth {
		challenge, _, _ := strings.Cut(text, "\n")
		if secretFile == "" {
			err := sdk.Problemf(sdk.Credentials, "varnishd at %s asks for its secret", c.address)
			return sdk.Hint(sdk.Subject(err, "secret_file"), "set secret_file to varnishd's option -S")
		}
		secret, err := os.ReadFile(secretFile)
		if err != nil {
			err = sdk.Subject(sdk.WithCode(fmt.Errorf("varnishd at %s asks for its secret: %w", c.address, err), sdk.Credentials), "secret_file")
			return sdk.Hint(err, "set secret_file to varnishd's option -S, and let certwright's user read that file")
		}
		sum := sha256.New()
		for _, part := range [][]byte{[]byte(challenge), {'\n'}, secret, []byte(challenge), {'\n'}} {
			_, _ = sum.Write(part)
		}
		if status, _, err = c.exchange(ctx, "auth "+hex.EncodeToString(sum.Sum(nil))); err != nil {
			return err
		}
		if status != cliOK {
			err := sdk.Problemf(sdk.Credentials, "varnishd at %s does not accept the secret in %s", c.address, secretFile)
			return sdk.Hint(sdk.Subject(err, "secret_file"), "set secret_file to the file of varnishd's option -S")
		}
	}
	if status != cliOK {
		return sdk.Problemf(sdk.Unavailable, "varnishd at %s refuses the connection: %s", c.address, quote(text))
	}
	return nil
}

// do runs one command, of words that are quoted if need be.
func (c *cli) do(ctx context.Context, words ...string) (string, error) {
	status, text, err := c.ask(ctx, words...)
	if err == nil && status != cliOK {
		err = refused(words, status, text)
	}
	return text, err
}

// ask gives the status too.
func (c *cli) ask(ctx context.Context, words ...string) (int, string, error) {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quoteWord(w)
	}
	c.step("cli: " + strings.Join(words, " "))
	return c.exchange(ctx, strings.Join(quoted, " "))
}

// inline loads a VCL from its text.
func (c *cli) inline(ctx context.Context, name, text string) error {
	c.step("cli: vcl.inline " + name)
	end := "certwright-end"
	for strings.Contains(text, end) {
		end += "-"
	}
	status, answer, err := c.exchange(ctx, "vcl.inline "+quoteWord(name)+" << "+end+"\n"+text+"\n"+end)
	if err == nil && status != cliOK {
		err = refused([]string{"vcl.inline", name}, status, answer)
	}
	return err
}

func (c *cli) exchange(ctx context.Context, command string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	// Whatever ends the call ends the exchange.
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := io.WriteString(c.conn, command+"\n")
	var status int
	var text string
	if err == nil {
		status, text, err = c.read(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		first, _, _ := strings.Cut(command, " <<")
		return 0, "", fmt.Errorf("ask varnishd at %s to %q: %w", c.address, quote(first), err)
	}
	return status, text, nil
}

// read reads one answer: "STATUS LENGTH\n", padded, the text, and a newline.
func (c *cli) read(ctx context.Context) (int, string, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(c.conn, header); err != nil {
		return 0, "", err
	}
	fields := strings.Fields(string(header))
	if len(fields) != 2 {
		return 0, "", sdk.Problemf(sdk.Unsupported, "%q is no answer of varnishd", header)
	}
	status, err := strconv.Atoi(fields[0])
	length, bad := strconv.Atoi(fields[1])
	if err != nil || bad != nil || length < 0 || length > answerLimit {
		return 0, "", sdk.Problemf(sdk.Unsupported, "%q is no answer of varnishd", header)
	}
	text := make([]byte, length+1)
	if _, err := io.ReadFull(c.conn, text); err != nil {
		return 0, "", err
	}
	return status, string(bytes.TrimSuffix(text, []byte("\n"))), nil
}

func refused(words []string, status int, text string) error {
	p := sdk.Problemf(sdk.Unavailable, "varnishd refuses %q (status %d)", strings.Join(words, " "), status)
	p.Detail = quote(text)
	return p
}

// plainWord needs no quotes on the command line.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.*-]+$`)

// quoteWord writes a word as varnish-cli(7) reads it: as in C.
func quoteWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(word) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quote makes an answer fit for an error.
func quote(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if len(text) > quoteLimit {
		text = strings.ToValidUTF8(text[:quoteLimit], "") + " …"
	}
	if text == "" {
		return "nothing"
	}
	return text
}
