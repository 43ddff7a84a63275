package pluginhost

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

func TestParseHandshake(t *testing.T) {
	tests := []struct {
		line string
		ok   bool
		want handshake
	}{
		{"1|1|unix|/tmp/s|grpc|", true, handshake{core: 1, app: 1, network: "unix", address: "/tmp/s", protocol: "grpc"}},
		{" 1|2|tcp|127.0.0.1:1|grpc||true\r", true, handshake{core: 1, app: 2, network: "tcp", address: "127.0.0.1:1", protocol: "grpc"}},
		{"1|1|unix|/tmp/s", true, handshake{core: 1, app: 1, network: "unix", address: "/tmp/s"}},
		{"1|1|unix|/tmp/s|grpc|!!", true, handshake{
			core: 1, app: 1, network: "unix", address: "/tmp/s", protocol: "grpc", certificate: "!!", certificateBroken: true}},
		{"a|b|c|d", false, handshake{}},
		{"1|2|three|four", false, handshake{}},
		{"1|x|unix|s", false, handshake{}},
		{"1|1|unix", false, handshake{}},
		{"", false, handshake{}},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			got, ok := parseHandshake(test.line)
			if ok != test.ok || ok && got != test.want {
				t.Errorf("%+v, %v", got, ok)
			}
		})
	}
}

func TestParseLogLine(t *testing.T) {
	tests := []struct {
		line string
		want logLine
	}{
		{"plain", logLine{hclog.Info, "plain", nil}},
		{"[WARN] look out", logLine{hclog.Warn, "[WARN] look out", nil}},
		{"[nothing] known", logLine{hclog.Info, "[nothing] known", nil}},
		{"panic: oh", logLine{hclog.Error, "panic: oh", nil}},
		{`{"@level":"debug","@message":"m","@module":"x","b":1,"a":"t"}`, logLine{hclog.Debug, "m", []any{"a", "t", "b", "1"}}},
		{`{"@message":5}`, logLine{hclog.Info, "5", nil}},
		{`{"@message":null,"@level":{},"@timestamp":[]}`, logLine{hclog.Info, "", nil}},
		{`{"@message":{"a":[1]},"k":{"x": true}}`, logLine{hclog.Info, `{"a":[1]}`, []any{"k", `{"x": true}`}}},
		{`{"other":"json"}`, logLine{hclog.Info, `{"other":"json"}`, nil}},
		{`{"@message": broken`, logLine{hclog.Info, `{"@message": broken`, nil}},
		{"\x1b[2Jclear\x07", logLine{hclog.Info, "\uFFFD[2Jclear\uFFFD", nil}},
		{`{"@message":"\u001b[2Jtwo\nlines"}`, logLine{hclog.Info, "\uFFFD[2Jtwo lines", nil}},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			if diff := cmp.Diff(test.want, parseLogLine(test.line), cmp.AllowUnexported(logLine{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLineWriter(t *testing.T) {
	tests := []struct {
		name   string
		writes []string
		want   []string
	}{
		{"whole lines", []string{"a\nb\n"}, []string{"a", "b"}},
		{"in pieces", []string{"a", "b\nc", "\n"}, []string{"ab", "c"}},
		{"no end", []string{"a\nb"}, []string{"a", "b"}},
		{"windows", []string{"a\r\n"}, []string{"a"}},
		{"empty lines", []string{"\n\n"}, []string{"", ""}},
		{"too long", []string{"0123456", "789abc\nd\n"}, []string{"01234567+", "d"}},
		{"just fits", []string{"01234567\n"}, []string{"01234567"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			w := &lineWriter{max: 8, emit: func(line []byte, cut bool) {
				text := string(line)
				if cut {
					text += "+"
				}
				got = append(got, text)
			}}
			for _, s := range test.writes {
				if n, err := io.WriteString(w, s); n != len(s) || err != nil {
					t.Fatal(n, err)
				}
			}
			_ = w.Close()
			_ = w.Close()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFlood: what is over the rate is counted, not logged.
func TestFlood(t *testing.T) {
	log := &logBuffer{}
	p := newLogPump(hclog.New(&hclog.LoggerOptions{Output: log}), newMasker(nil))
	now := time.Unix(1000, 0)
	p.limit.now = func() time.Time { return now }
	w := p.writer()
	for n := range lineBurst + 50 {
		fmt.Fprintf(w, "line %d\n", n)
	}
	now = now.Add(10 * time.Millisecond) // two more
	fmt.Fprintln(w, "later")
	for n := range 5 {
		fmt.Fprintf(w, "last %d\n", n)
	}
	p.close(time.Minute)
	text := log.String()
	for _, want := range []string{"line 0\n", fmt.Sprintf("line %d\n", lineBurst-1), "50 lines dropped", "later", "last 0", "4 lines dropped"} {
		if !strings.Contains(text, want) {
			t.Errorf("not logged: %q", want)
		}
	}
	for _, not := range []string{fmt.Sprintf("line %d\n", lineBurst), "last 1\n"} {
		if strings.Contains(text, not) {
			t.Errorf("logged: %q", not)
		}
	}
	if words := p.lastWords(); len(words) != tailLines || words[tailLines-1] != "last 4" {
		t.Errorf("last words %q", words)
	}
}

// TestStuckLog: a log that takes nothing holds nobody up.
func TestStuckLog(t *testing.T) {
	stuck := &stuckWriter{free: make(chan struct{})}
	p := newLogPump(hclog.New(&hclog.LoggerOptions{Output: stuck}), newMasker(nil))
	p.limit = bucket{rate: 1e9, size: 1e9, tokens: 1e9, now: time.Now}
	w := p.writer()
	for n := range 10 * lineBurst {
		fmt.Fprintf(w, "line %d\n", n)
	}
	p.close(time.Millisecond)
	close(stuck.free)
	<-p.done
}

type stuckWriter struct{ free chan struct{} }

func (s *stuckWriter) Write(b []byte) (int, error) {
	<-s.free
	return len(b), nil
}

// TestLastWords: a stack trace does not push out what was said before it, and
// what is said after a panic that was caught counts again.
func TestLastWords(t *testing.T) {
	p := newLogPump(hclog.NewNullLogger(), newMasker(nil))
	defer p.close(time.Minute)
	w := p.writer()
	fmt.Fprintln(w, "before")
	fmt.Fprintln(w, "panic: out of luck\n\ngoroutine 12 [running]:\nmain.(*authenticator).Perform.func1()")
	fmt.Fprintln(w, "\t/src/main.go:7 +0x1d\ncreated by main.main in goroutine 1")
	fmt.Fprintln(w, "main.f(0x1, {0x2, 0x3})\nrbx    0x0\nexit status (never a trace)")
	fmt.Fprintln(w, `{"@message": "after", "@level": "error", "k": "v"}`)
	fmt.Fprintln(w, strings.Repeat("x", lastWordsLimit+1))
	want := []string{"before", "panic: out of luck", "exit status (never a trace)", "after k=v", strings.Repeat("x", lastWordsLimit) + "…"}
	if diff := cmp.Diff(want, p.lastWords()); diff != "" {
		t.Error(diff)
	}
}

// TestEmptyWords: the error of a process that said nothing says so.
func TestEmptyWords(t *testing.T) {
	err := &StartError{Instance: "i", Plugin: "p", Reason: context.Canceled}
	mention(t, err, "instance i (plugin p)", "it said nothing")
}

// FuzzHandshakeFilter: whatever a plugin prints, in whatever pieces, go-plugin
// sees nothing or one whole, faultless handshake line.
func FuzzHandshakeFilter(f *testing.F) {
	f.Add([]byte("hello\n1|1|unix|/tmp/s|grpc|\n"), uint8(3))
	f.Add([]byte("1|1|unix|/tmp/s|grpc|AAAA"), uint8(1))
	f.Add([]byte("1|99|tcp|127.0.0.1:80|grpc||true\r\n1|1|unix|x|grpc\n"), uint8(200))
	f.Add([]byte("||||\n\x00\n9999999999999999999|1|unix|x\n"), uint8(7))
	f.Add(bytes.Repeat([]byte("x"), 2*maxHandshake), uint8(255))
	f.Fuzz(func(t *testing.T, output []byte, piece uint8) {
		stray := 0
		filter, out := newHandshakeFilter(func(string, bool) { stray++ })
		passed := make(chan []byte)
		go func() {
			got, _ := io.ReadAll(out)
			passed <- got
		}()
		for chunk := range slices.Chunk(output, int(piece)+1) {
			if n, err := filter.Write(chunk); n != len(chunk) || err != nil {
				t.Fatal(n, err)
			}
		}
		_ = filter.Close()
		got := <-passed
		h, seen, ended, fault := filter.result()
		if !ended {
			t.Error("the end was not seen")
		}
		if len(got) == 0 {
			if seen && fault == nil {
				t.Error("a good handshake was kept back")
			}
			return
		}
		line, ok := strings.CutSuffix(string(got), "\n")
		again, isHandshake := parseHandshake(line)
		if !ok || strings.Contains(line, "\n") || !isHandshake || again != h || fault != nil || h.fault() != nil {
			t.Errorf("passed %q, fault %v", got, fault)
		}
	})
}

// FuzzLogLines: whatever a plugin writes to standard error is logged as lines
// that cannot harm a terminal and hold no secret.
func FuzzLogLines(f *testing.F) {
	f.Add([]byte("plain\n[ERROR] marked\n"))
	f.Add([]byte(`{"@message": 5, "@level": ["x"], "a": {"b": null}}`))
	f.Add([]byte(`{"@message": "m", "@level": "warn", "@timestamp": "now", "k": "the-secret"}`))
	f.Add([]byte("panic: x\n\ngoroutine 1 [running]:\n\x1b[31m\xff\xfe\n"))
	f.Add([]byte(`{"@message": "the\u002dsecret"}`))
	f.Fuzz(func(t *testing.T, output []byte) {
		const secret = "the-secret"
		masks := newMasker(nil)
		masks.add(map[string][]byte{"s": []byte(secret)})
		log := &logBuffer{}
		p := newLogPump(hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Trace, JSONFormat: true}), masks)
		w := p.writer()
		_, _ = w.Write(output)
		_ = w.Close()
		words := p.lastWords()
		p.close(time.Minute)
		for _, text := range append(words, log.String()) {
			if strings.Contains(text, secret) {
				t.Errorf("the secret is in %q", text)
			}
		}
		for _, word := range words {
			if strings.ContainsFunc(word, unicode.IsControl) {
				t.Errorf("control characters in %q", word)
			}
		}
		if len(words) > tailLines {
			t.Errorf("%d last words", len(words))
		}
	})
}
