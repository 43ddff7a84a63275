package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const secret = `pa55 "word"<&>/+é` // not one that is the same in every form

func known(secrets ...string) *Secrets {
	s := &Secrets{}
	for _, text := range secrets {
		s.Add([]byte(text))
	}
	return s
}

// TestForms: every way in which a program may write the secret.
func TestForms(t *testing.T) {
	inJSON, err := json.Marshal(map[string]string{"token": secret})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"as it is":              "the token is " + secret + ".",
		"JSON":                  string(inJSON),
		"Go":                    fmt.Sprintf("bad token %q", secret),
		"query":                 "GET /?key=" + url.QueryEscape(secret) + "&x=y",
		"path":                  "GET /" + url.PathEscape(secret) + "/x",
		"hexadecimal":           hex.EncodeToString([]byte(secret)),
		"HEXADECIMAL":           strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"base64":                base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64url":             base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"basic, one before":     base64.StdEncoding.EncodeToString([]byte("user:" + secret)),
		"basic, two before":     base64.StdEncoding.EncodeToString([]byte("users:" + secret + "\n")),
		"basic, three before":   base64.StdEncoding.EncodeToString([]byte("u2:" + secret + " and more")),
		"basic, at the end":     base64.StdEncoding.EncodeToString([]byte("x" + secret)),
		"basic, at the end, 2":  base64.RawStdEncoding.EncodeToString([]byte("xy" + secret)),
		"twice":                 secret + secret,
		"in another's sentence": "a" + secret + "b",
	}
	s := known(secret, "other-secret")
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			got := s.Redact(text)
			if !strings.Contains(got, Mark) {
				t.Errorf("nothing is masked: %s", got)
			}
			for _, form := range Forms([]byte(secret)) {
				if strings.Contains(got, form) {
					t.Errorf("%q is left in %q", form, got)
				}
			}
			if strings.Contains(name, "at the end") && !strings.HasSuffix(got, Mark) {
				t.Errorf("an end is left: %q", got)
			}
			if strings.Contains(got, "word") {
				t.Errorf("a piece is left: %q", got)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	key := "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
	tests := map[string]struct {
		secrets    []string
		text, want string
	}{
		"none":                   {nil, "text", "text"},
		"the longer first":       {[]string{"abcd", "abcdefgh"}, "abcdefgh abcd", "[secret] [secret]"},
		"too short":              {[]string{"abc"}, "abc", "abc"},
		"line by line":           {[]string{"line one\nline two\n"}, "line two\nthen line one", "[secret]\nthen [secret]"},
		"with spaces around":     {[]string{" \tpadded\n"}, "padded", "[secret]"},
		"innocent":               {[]string{"pass"}, "no way past", "no way past"},
		"a private key":          {nil, "x " + key + " y", "x [private key] y"},
		"an escaped key":         {nil, strings.ReplaceAll("x "+key+" y", "\n", `\n`), "x [private key] y"},
		"the head of a key":      {nil, "x -----BEGIN PRIVATE KEY-----\nMHcC", "x [private key]"},
		"two keys":               {nil, key + "\nand\n" + key, "[private key]\nand\n[private key]"},
		"a certificate stays":    {nil, "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"},
		"bytes that are no text": {[]string{"\xff\xfe\xfd\xfc\xfb\xfa"}, `"\xff\xfe\xfd\xfc\xfb\xfa" fffefdfcfbfa`, `"[secret]" [secret]`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := known(test.secrets...).Redact(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestRedactCut: a cut through a secret leaves nothing of it.
func TestRedactCut(t *testing.T) {
	tests := map[string]string{
		"the secret is abcdefgh":     "the secret is [secret]",
		"the secret is abcdefg":      "the secret is [secret]",
		"the secret is abcd":         "the secret is [secret]",
		"the secret is abc":          "the secret is abc",
		"abcdefgh and then abcdefgh": "[secret] and then [secret]",
		"":                           "",
		"abcdefgh and nothing":       "[secret] and nothing",
	}
	s := known("abcdefgh")
	for text, want := range tests {
		if got := s.RedactCut(text); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

// FuzzRedact: whatever surrounds it and whatever it is, the secret is not there
// afterwards, and a text without it is left alone.
func FuzzRedact(f *testing.F) {
	f.Add("before", "the-secret", "after")
	f.Add("aaaa", "aaaaa", "a")
	f.Add("\n", "two\nlines of it", "")
	f.Fuzz(func(t *testing.T, before, middle, after string) {
		whole := strings.TrimSpace(middle)
		if len(whole) < minSecret || strings.Contains(Mark, whole) || strings.Contains(KeyMark, whole) {
			return // no secret that could be told from the mask
		}
		s := known(middle)
		got := s.Redact(before + middle + after)
		// Where the masks join with what is beside them, or one another, they
		// may spell it; nobody can read anything from that.
		if plain := strings.ReplaceAll(got, Mark, "\x00"); strings.Contains(plain, whole) && !strings.Contains(whole, "\x00") {
			t.Errorf("%q is left in %q", whole, got)
		}
	})
}
