package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corpus gives every file of it by name.
func corpus(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join("testdata/corpus", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(data)
	}
	if len(out) < 60 {
		t.Fatalf("the corpus has %d files only", len(out))
	}
	return out
}

func TestWhatIsReadIsPrinted(t *testing.T) {
	for name, text := range corpus(t) {
		f, err := parse(name, text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		equal(t, text, f.print())
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text)
	}
	f.Add("<a>\\\n</a>")
	f.Add("<VirtualHost")
	f.Add("\xef\xbb\xbf<>")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parse("fuzz", text)
		var mistake *syntaxError
		if err != nil {
			if !errors.As(err, &mistake) || mistake.line < 1 {
				t.Fatalf("an error without a line: %v", err)
			}
			return
		}
		if got := parsed.print(); got != text {
			t.Fatalf("%q became %q", text, got)
		}
		// What is closed can be followed, and nothing before it is touched.
		parsed.append("Listen 1\n")
		if got := parsed.print(); !strings.HasPrefix(got, text) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		`a b`:                    {"a", "b"},
		"  a\tb\vc\fd  ":         {"a", "b", "c", "d"},
		`"a b" c`:                {"a b", "c"},
		`'a "b"' "it's"`:         {`a "b"`, "it's"},
		`"a \"b\" \\ \n"`:        {`a "b" \ \n`},
		`'it\'s'`:                {"it's"},
		`"not closed`:            {"not closed"},
		`"a"b "c"`:               {"a", "b", "c"},
		`a"b c"`:                 {`a"b`, `c"`},
		`"" x`:                   {"", "x"},
		`%{HTTP_HOST} ^(a|b)\.$`: {"%{HTTP_HOST}", `^(a|b)\.$`},
		`back\ slash`:            {`back\`, "slash"},
	} {
		equal(t, want, words(text))
	}
	for _, word := range []string{"", "a", "a b", `a"b`, `it's`, `a\b`, `\`, `"`, "tab\there", `^[^.]+\.x$`} {
		equal(t, []string{word}, words(quoted(word)))
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"A": "one", "B": "two words", "EMPTY": ""}
	lookup := func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
	for text, want := range map[string]string{
		"${A}": "one", "x${A}y${B}z": "xoneytwo wordsz", "${NONE}": "${NONE}", "${A": "${A", "$A {A}": "$A {A}",
		"${EMPTY}": "", "${NONE}${A}": "${NONE}one", "%{A}": "%{A}",
	} {
		equal(t, want, expand(text, lookup))
	}
}

func TestNodes(t *testing.T) {
	f, err := parse("x", "\xef\xbb\xbfServerName a\n# c \\\nServerName b\n<IfModule \"x y\" >\n  ServerAlias \\\n c \\\n d\n</ifmodule>\nLast")
	must(t, err)
	var got []string
	var list func([]*node, string)
	list = func(nodes []*node, in string) {
		for _, n := range nodes {
			if n.kind != other {
				got = append(got, in+n.name+": "+strings.Join(words(n.args), "|")+" @"+string(rune('0'+n.line)))
			}
			list(n.children, in+n.name+"/")
		}
	}
	list(f.nodes, "")
	equal(t, []string{"ServerName: a @1", "IfModule: x y @4", "IfModule/ServerAlias: c|d @5", "Last:  @9"}, got)
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"\n<VirtualHost *:80>\nServerName a\n":           "x:2: <VirtualHost> is not closed",
		"<IfModule a>\n<IfDefine b>\n</IfModule>\n":      "x:3: </IfModule> does not close <IfDefine> of line 2",
		"a b\n</Directory>\n":                            "x:2: </Directory> closes nothing",
		"<Directory /\n</Directory>\n":                   "x:1: <Directory has no closing >",
		"<Directory />\n</Directory\n":                   "x:2: </Directory has no closing >",
		"a \\\nb\n<Files x>\n</Files >\n":                "x:4: </Files has no closing >",
		"a\x00b\n":                                       "x:1: there is a NUL byte in this line",
		"<>\n":                                           "x:1: a section has no name",
		"<Macro x>\n<Location />\n</macro>\n</Macro>\n":  "x:4: </Macro> closes nothing",
		"<Macro x>\n<Location />\n</Location>\n":         "x:1: <Macro> is not closed",
		"# ok\n<If \"a > b\">\n<Else>\n</If>\n</Else>\n": "x:4: </If> does not close <Else> of line 3",
	} {
		_, err := parse("x", text)
		if err == nil {
			t.Errorf("%q is read", text)
			continue
		}
		equal(t, want, err.Error())
	}
}

func TestVersions(t *testing.T) {
	have := [3]int{2, 4, 71}
	for args, want := range map[string]bool{
		"2.4.71": true, "= 2.4.71": true, "== 2.4.70": false, "> 2.4": true, ">= 2.4.71": true, "< 2.4.71": false, "<= 2.4.71": true,
		"!< 2.4": true, "!= 2.4.71": false, "= 2.4": false, "~ ^2\\.4\\.": true, "= /^2\\.2/": false, "!~ ^2\\.2": true, "~ ^2\\.2": false,
	} {
		if got := versionHolds(have, strings.Fields(args)); got != want {
			t.Errorf("IfVersion %s is %v", args, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string][2]string{
		"80": {"", "80"}, "*:80": {"", "80"}, "*": {"", ""}, "*:*": {"", ""}, "_default_:443": {"", "443"},
		"192.0.2.1:80": {"192.0.2.1", "80"}, "192.0.2.1": {"192.0.2.1", ""}, "[2001:db8::1]:80": {"2001:db8::1", "80"},
		"[::1]": {"::1", ""}, "Name.Test:8080": {"name.test", "8080"}, "0.0.0.0:80": {"0.0.0.0", "80"}, "192.0.2.1:*": {"192.0.2.1", ""},
	} {
		host, port := splitAddress(text)
		equal(t, want, [2]string{host, port})
	}
}

func TestPatternsOfInclude(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.conf", "a.conf", ".hidden.conf", "a.conf~", "sub/x.conf", "sub/deep/y.conf", "other/x.conf"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		put(t, filepath.Join(dir, name), "", 0o644)
	}
	ws := newWorkspace(nil)
	ws.put(filepath.Join(dir, "new.conf"), "x")
	for pattern, want := range map[string]string{
		"*.conf": "a.conf b.conf new.conf", "a.conf": "a.conf", "none.conf": "", "sub": "sub/deep/y.conf sub/x.conf",
		"*/x.conf": "other/x.conf sub/x.conf", "[!a].conf": "b.conf", "s*": "sub/deep/y.conf sub/x.conf", "?.conf": "a.conf b.conf",
		".h*": ".hidden.conf",
	} {
		var got []string
		for _, path := range ws.included(filepath.Join(dir, pattern)) {
			name, err := filepath.Rel(dir, path)
			must(t, err)
			got = append(got, name)
		}
		equal(t, want, strings.Join(got, " "))
	}
}
