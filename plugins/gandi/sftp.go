package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/certwright/certwright/sdk"
)

// dialLimit bounds the way to the first answer of the sftp server.
const dialLimit = 30 * time.Second

// site is an open connection to the sftp server of an instance.
type site struct {
	*sftp.Client
	over *ssh.Client
	stop func() bool
}

// connect logs in. The connection ends with the context.
func (g *gandi) connect(ctx context.Context, at place) (*site, error) {
	s, err := g.dial(ctx, at)
	if err == nil {
		return s, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("log in to sftp://%s@%s: %w", at.user, at.address, cause)
	}
	return nil, explainLogin(fmt.Errorf("log in to sftp://%s@%s: %w", at.user, at.address, err), at)
}

// dial tries one kind of host key after the other, where the settings do not
// tell which one the server is known by.
func (g *gandi) dial(ctx context.Context, at place) (*site, error) {
	config, kinds, err := g.settings.login(at)
	if err != nil {
		return nil, err
	}
	for _, config.HostKeyAlgorithms = range kinds {
		s, failed := open(ctx, at, config)
		if failed == nil {
			return s, nil
		}
		if err == nil || errors.Is(failed, errHostKey) {
			err = failed
		}
		if agreed := (*ssh.AlgorithmNegotiationError)(nil); !errors.Is(failed, errHostKey) && !errors.As(failed, &agreed) {
			return nil, failed
		}
	}
	return nil, err
}

func open(ctx context.Context, at place, config *ssh.ClientConfig) (*site, error) {
	dialing, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	wire, err := new(net.Dialer).DialContext(dialing, "tcp", at.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = wire.Close() })
	if err := wire.SetDeadline(time.Now().Add(dialLimit)); err != nil {
		stop()
		return nil, errors.Join(err, wire.Close())
	}
	conn, channels, requests, err := ssh.NewClientConn(wire, at.address, config)
	if err != nil {
		stop()
		_ = wire.Close() // the error of the handshake says more
		return nil, err
	}
	client := ssh.NewClient(conn, channels, requests)
	files, err := sftp.NewClient(client)
	if err == nil {
		err = wire.SetDeadline(time.Time{})
	}
	if err != nil {
		stop()
		return nil, errors.Join(err, client.Close())
	}
	return &site{Client: files, over: client, stop: stop}, nil
}

func (s *site) close() {
	s.stop()
	_ = s.Close() // everything has been answered
	_ = s.over.Close()
}

// login gives the client's side of the handshake, and the kinds of host key to
// ask for, one after the other.
func (s settings) login(at place) (*ssh.ClientConfig, [][]string, error) {
	config := &ssh.ClientConfig{User: at.user, Timeout: dialLimit}
	if s.SFTPKey != "" {
		key, err := ssh.ParsePrivateKey([]byte(s.SFTPKey))
		if err != nil {
			p := sdk.Problemf(sdk.InvalidConfig, "read the private key: %w", err)
			return nil, nil, sdk.Subject(sdk.Hint(sdk.Permanent(p), "refer to a private key file in OpenSSH or PEM form without a passphrase"), "sftp_key")
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(key))
	}
	if s.SFTPPassword != "" {
		password := strings.TrimRight(string(s.SFTPPassword), "\r\n")
		config.Auth = append(config.Auth, ssh.Password(password), ssh.KeyboardInteractive(
			func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					answers[i] = password
				}
				return answers, nil
			}))
	}
	var kinds [][]string
	var err error
	if s.HostKey != "" {
		config.HostKeyCallback, kinds, err = pinned(s.HostKey)
	} else {
		config.HostKeyCallback, kinds, err = listed(s.KnownHosts, at.address)
	}
	return config, kinds, err
}

// errHostKey is a server that shows another key than it should.
var errHostKey = errors.New("the server's host key is not the one that is set")

// pinned takes one key and no other.
func pinned(text string) (ssh.HostKeyCallback, [][]string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "SHA256:") {
		if len(text) != len("SHA256:")+43 { // 32 bytes in base64 without padding
			return nil, nil, errors.New("that is no SHA256 fingerprint")
		}
		return func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if got := ssh.FingerprintSHA256(key); got != text {
				return fmt.Errorf("%w: it shows %s", errHostKey, got)
			}
			return nil
		}, everyKind, nil
	}
	want, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return nil, nil, errors.New("that is neither a fingerprint nor a public key")
	}
	return func(_ string, _ net.Addr, key ssh.PublicKey) error {
		if string(key.Marshal()) != string(want.Marshal()) {
			return fmt.Errorf("%w: it shows %s", errHostKey, ssh.FingerprintSHA256(key))
		}
		return nil
	}, [][]string{algorithmsOf(want.Type())}, nil
}

// listed takes a key that a known_hosts file has for the server.
func listed(path, address string) (ssh.HostKeyCallback, [][]string, error) {
	check, err := knownhosts.New(path)
	if err != nil {
		p := sdk.Problemf(sdk.InvalidConfig, "read the known hosts: %w", err)
		return nil, nil, sdk.Subject(sdk.Permanent(p), "known_hosts")
	}
	// The server may have keys of several types: it is asked for one that the
	// file has. A key that nobody has makes the file tell which.
	var algorithms []string
	var unknown *knownhosts.KeyError
	if errors.As(check(address, &net.TCPAddr{IP: net.IPv4zero}, nobody{}), &unknown) {
		for _, known := range unknown.Want {
			algorithms = append(algorithms, algorithmsOf(known.Key.Type())...)
		}
	}
	return func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := check(host, remote, key)
		if wrong := (*knownhosts.KeyError)(nil); errors.As(err, &wrong) {
			if len(wrong.Want) == 0 {
				return fmt.Errorf("%w: %s has none for it, and it shows %s", errHostKey, path, ssh.FingerprintSHA256(key))
			}
			return fmt.Errorf("%w: %s has another one, and it shows %s", errHostKey, path, ssh.FingerprintSHA256(key))
		}
		return err
	}, [][]string{algorithms}, nil
}

// nobody is a public key that nobody has.
type nobody struct{}

func (nobody) Type() string                        { return "nobody" }
func (nobody) Marshal() []byte                     { return []byte("nobody") }
func (nobody) Verify([]byte, *ssh.Signature) error { return errHostKey }

// everyKind is what a fingerprint may be of.
var everyKind = [][]string{
	{ssh.KeyAlgoED25519}, {ssh.KeyAlgoECDSA256}, {ssh.KeyAlgoECDSA384}, {ssh.KeyAlgoECDSA521}, algorithmsOf(ssh.KeyAlgoRSA),
}

// algorithmsOf are the signatures that a key of a type makes (RFC 8332).
func algorithmsOf(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

func explainLogin(err error, at place) error {
	var p *sdk.Problem
	switch {
	case errors.As(err, &p):
		return err
	case errors.Is(err, errHostKey):
		err = sdk.Permanent(sdk.WithCode(err, sdk.Credentials))
		return sdk.Hint(err, "compare the fingerprint with that of the instance, and correct host_key or known_hosts if it is right")
	case strings.Contains(err.Error(), "unable to authenticate"):
		err = sdk.Permanent(sdk.WithCode(err, sdk.Credentials))
		return sdk.Hint(err, "check that the instance has the public key of sftp_key, or the password, for the user %s", at.user)
	}
	return sdk.RetryAfter(sdk.Hint(sdk.WithCode(err, sdk.Unavailable), "check that the instance runs and that %s is reachable from here", at.address), 0)
}
