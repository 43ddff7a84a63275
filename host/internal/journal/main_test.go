package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// The test binary is its own second process: CERTWRIGHT_JOURNAL_CHILD is set
// when it shall be.
const childVar = "CERTWRIGHT_JOURNAL_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		if err := child(os.Args[1], os.Args[2]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func child(action, dir string) error {
	switch action {
	case "hold":
		j, err := Open(dir)
		if err != nil {
			return err
		}
		id, err := j.Performing(testPerform())
		if err != nil {
			return err
		}
		if err := j.Receipts(id, []Receipt{{ChallengeID: "c2", Data: []byte("r2")}}); err != nil {
			return err
		}
		fmt.Println("held")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until our parent wants, or is gone
		return j.Close()
	case "recover":
		return Recover(context.Background(), dir, func(_ context.Context, e Entry) error {
			fmt.Println("recovered", e.File, e.ID)
			return nil
		})
	case "full":
		return fillDisk(dir)
	}
	return fmt.Errorf("unknown action %s", action)
}

// fillDisk writes to a journal that cannot take the second record but a third,
// smaller one. A limit on the size of files stands for the full disk.
func fillDisk(dir string) error {
	j, err := Open(dir)
	if err != nil {
		return err
	}
	if _, err := j.Order(Order{Lineage: "first"}); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: 4096}); err != nil {
		return err
	}
	_, err = j.Order(Order{Lineage: strings.Repeat("x", 8192)})
	if err == nil {
		return errors.New("the second record was taken")
	}
	fmt.Println("second:", err, "hint:", sdk.ProblemOf(err).Hint)
	if _, err := j.Order(Order{Lineage: "third"}); err != nil {
		return err
	}
	return j.Close()
}

func childCommand(ctx context.Context, t *testing.T, action, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, exe, action, dir)
	cmd.Env = append(os.Environ(), childVar+"=1")
	cmd.Stderr = os.Stderr
	return cmd
}

func testPerform() Perform {
	return Perform{
		Instance: model.Instance{
			Name: "dns-a", Plugin: "rfc2136", Settings: map[string]any{"server": "192.0.2.1:53", "ttl": 60.0},
			Secrets: map[string]model.SecretRef{"tsig_secret": {File: "/run/keys/a"}},
		},
		Lineage: "example.com", OperationID: "op1",
		Challenges: []model.Challenge{
			{
				ID: "c1", Type: sdk.HTTP01, Identifier: model.Identifier{Type: "dns", Value: "example.com"},
				Token: "t1", KeyAuthorization: "t1.x", HTTP: &sdk.HTTPChallenge{Path: "/.well-known/acme-challenge/t1", Body: []byte("t1.x")},
				RawJSON: []byte(`{"not json`),
			},
			{
				ID: "c2", Type: sdk.DNS01, Identifier: model.Identifier{Type: "dns", Value: "example.com", Wildcard: true},
				DNS: &sdk.DNSChallenge{Name: "_acme-challenge.example.com", Value: "v", Zone: "example.com", TTL: 60e9},
			},
			{
				ID: "c3", Type: sdk.TLSALPN01, Identifier: model.Identifier{Type: "ip", Value: "2001:db8::1"},
				ALPN: &sdk.ALPNChallenge{ServerName: "1.ip6.arpa", CertPEM: []byte("cert"), KeyPEM: []byte("TOP SECRET KEY")},
			},
		},
	}
}
