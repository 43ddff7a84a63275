package responder

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func challenge(token string) sdk.Challenge {
	return sdk.Challenge{Type: sdk.HTTP01, Token: token, HTTP: &sdk.HTTPChallenge{
		Path: "/.well-known/acme-challenge/" + token, Body: []byte(token + ".thumb"),
	}}
}

// listening gives one that has a port of the kernel's, with a first answer.
func listening(t *testing.T) *Listener {
	t.Helper()
	for range 20 {
		n, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := &Listener{Port: n.Addr().(*net.TCPAddr).Port, Config: "its.conf"}
		_ = n.Close()
		if err := l.Put(t.Context(), "a", challenge("first")); err == nil {
			return l
		} else if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Fatal("no port stays free")
	return nil
}

func ask(t *testing.T, l *Listener, token string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://127.0.0.1:" + strconv.Itoa(l.Port) + challenge(token).HTTP.Path)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestAnswers(t *testing.T) {
	l := listening(t)
	if err := l.Put(t.Context(), "b", challenge("first")); err != nil {
		t.Fatal(err)
	}
	if code, body := ask(t, l, "first"); code != http.StatusOK || body != "first.thumb" {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := ask(t, l, "other"); code != http.StatusNotFound {
		t.Errorf("%d for what was not put there", code)
	}
	path := challenge("first").HTTP.Path
	l.Remove("a", path)
	if code, _ := ask(t, l, "first"); code != http.StatusOK {
		t.Errorf("%d while another order wants it", code)
	}
	l.Remove("c", path) // never wanted it
	l.Remove("b", path)
	if code, text := ask(t, l, "first"); code != 0 {
		t.Errorf("%d %q although there is nothing to answer", code, text)
	}
	l.Remove("b", path) // again
	if err := l.Put(t.Context(), "a", challenge("second")); err != nil {
		t.Fatal(err)
	}
	if code, body := ask(t, l, "second"); code != http.StatusOK || body != "second.thumb" {
		t.Errorf("opened again: %d %q", code, body)
	}
	l.Remove("a", challenge("second").HTTP.Path)
}

func TestPortInUse(t *testing.T) {
	first := listening(t)
	defer first.Remove("a", challenge("first").HTTP.Path)
	second := &Listener{Port: first.Port, Config: "its.conf"}
	err := second.Put(t.Context(), "a", challenge("x"))
	p := sdk.ProblemOf(err)
	if p == nil || p.Code != sdk.Conflict || p.Subject != "listen" ||
		p.Hint != "see what listens on port "+strconv.Itoa(first.Port)+", or choose another port here and in its.conf" {
		t.Errorf("%+v", p)
	}
	if second.server != nil {
		t.Error("it is open all the same")
	}
}
