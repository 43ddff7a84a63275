package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

const leastCorpus = 60

// corpus gives the configurations by name; all of them are to be parsed.
func corpus(t testing.TB) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/corpus/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".conf")] = string(data)
	}
	if len(out) < leastCorpus {
		t.Fatalf("the corpus has %d configurations only", len(out))
	}
	return out
}

func TestPrintGivesWhatWasParsed(t *testing.T) {
	for name, src := range corpus(t) {
		b, err := parse(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := b.print(); got != src {
			t.Errorf("%s is different when it is printed:\n%s", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, src := range corpus(f) {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		b, err := parse(src)
		if err != nil {
			return
		}
		if got := b.print(); got != src {
			t.Errorf("%q is printed as %q", src, got)
		}
	})
}

func TestWords(t *testing.T) {
	for src, want := range map[string][]string{
		`a;`:                          {"a"},
		`a b  c;`:                     {"a", "b", "c"},
		"a\n# comment ; }\n\tb;":      {"a", "b"},
		`a "b c" 'd;e';`:              {"a", "b c", "d;e"},
		`a "b\"c" 'd\'e' f\"g;`:       {"a", `b"c`, "d'e", `f"g`},
		`a "t\tn\n" \d\\;`:            {"a", "t\tn\n", `\d\`},
		`a ${b}c/${d};`:               {"a", "${b}c/${d}"},
		`a b}c d#e;`:                  {"a", "b}c", "d#e"},
		`if ($a ~ "x y") {}`:          {"if", "($a", "~", "x y", ")"},
		`if ($a = b){}`:               {"if", "($a", "=", "b)"},
		"a 'two\nlines';":             {"a", "two\nlines"},
		`location ~ \.(a|b)$ {}`:      {"location", "~", `\.(a|b)$`},
		`a b\ c;`:                     {"a", `b\ c`},
		`a "";`:                       {"a", ""},
		byteOrderMark + `a b;`:        {"a", "b"},
		`x_by_lua_block $v { {"}"} }`: {"x_by_lua_block", "$v"},
	} {
		b, err := parse(src)
		if err != nil {
			t.Errorf("%q: %v", src, err)
			continue
		}
		equal(t, 1, len(b.nodes))
		equal(t, want, append([]string{b.nodes[0].name()}, b.nodes[0].args()...))
	}
}

func TestQuotedWordsAreReadBack(t *testing.T) {
	for _, text := range []string{"", "a", "/etc/a b", `a"b'c`, `back\slash`, "tab\t", "line\n", "a;b{c}#d", `\n`} {
		b, err := parse("x " + quote(text) + ";")
		must(t, err)
		equal(t, []string{text}, b.nodes[0].args())
	}
}

func TestWhatIsNotUnderstood(t *testing.T) {
	for src, want := range map[string]string{
		"a {\n b;\n":                     `line 1: the block "a" that begins here has no end`,
		"a;\n}\n":                        `line 2: there is a "}" too many`,
		"a;\n\nb":                        `line 3: the directive "b" has no end`,
		"a \"b;\n":                       "line 1: a string that begins here with \" has no end",
		"a \"b\"c;":                      "line 1: unexpected 'c' after a string",
		"\n;":                            `line 2: unexpected ";"`,
		"{}":                             `line 1: unexpected "{"`,
		"x_by_lua_block {\n {\n }":       "line 1: the Lua block that begins here has no end",
		strings.Repeat("a {", 300):       "nested too deep",
		"a \"multi\nline\";\nb 'x\ny'z;": "line 4: unexpected 'z' after a string",
	} {
		_, err := parse(src)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", src[:min(len(src), 30)], err, want)
		}
	}
}

// What nginx accepts it accepts also with challenges, with certificates for all
// names, and with the enhancements.
func TestNginxAcceptsTheEditedCorpus(t *testing.T) {
	p := ports{http: 80, https: 443}
	accepted, deployed := 0, 0
	for name, src := range corpus(t) {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		must(t, err)
		selfSigned(t, filepath.Join(dir, "old"), "old.test")
		selfSigned(t, filepath.Join(dir, "old2"), "old.test")
		path := filepath.Join(dir, "nginx.conf")
		put(t, path, src)
		c, err := load(t.Context(), path, nil)
		must(t, err)
		if c.http != nil {
			private(c)
			put(t, path, c.main.root.print())
		}
		if !accepts(t, dir) {
			continue
		}
		accepted++
		for _, edit := range []func(*configuration, string) (*configuration, error){
			func(c *configuration, host string) (*configuration, error) {
				if err := c.challenge([]answer{{host: host, token: "tok-en_1", body: "tok-en_1.x"}}, p); err != nil {
					return nil, err
				}
				return c.edited(t.Context())
			},
			func(c *configuration, host string) (*configuration, error) {
				w := &wish{name: host, names: []string{host}, paths: sdk.Paths{
					Fullchain: filepath.Join(dir, "old2/fullchain.pem"), Privkey: filepath.Join(dir, "old2/privkey.pem"),
				}}
				c, err := w.apply(t.Context(), c, p)
				if err != nil {
					return nil, err
				}
				deployed++
				for _, enhancement := range []string{"redirect", "hsts", "redirect", "hsts"} {
					before := c.main.src
					if c, err = (&wish{name: host, enhancement: enhancement}).apply(t.Context(), c, p); err != nil {
						return nil, err
					}
					if enhancement == "hsts" && before != c.main.src && strings.Contains(before, "Strict-Transport") {
						t.Errorf("%s: hsts for %s is not idempotent", name, host)
					}
				}
				return c, nil
			},
		} {
			for _, host := range hostsOf(t, path) {
				c, err := load(t.Context(), path, nil)
				must(t, err)
				before := c.main.src
				c, err = edit(c, host)
				if err != nil {
					if problem := sdk.ProblemOf(err); problem.Hint == "" {
						t.Errorf("%s for %s: no advice: %v", name, host, err)
					}
					continue
				}
				put(t, path, c.main.src)
				if !accepts(t, dir) {
					t.Errorf("%s is not accepted after an edit for %s:\n%s", name, host, c.main.src)
				}
				put(t, path, before)
			}
		}
	}
	if accepted < leastCorpus || deployed < leastCorpus {
		t.Errorf("nginx accepts %d configurations only, %d were deployed to", accepted, deployed)
	}
}

// private keeps a configuration that is tested out of the directories of the
// system's nginx.
func private(c *configuration) {
	has := map[string]bool{}
	for _, n := range c.http.node.body.nodes {
		has[n.name()] = true
	}
	for _, l := range []line{
		{text: "access_log off"}, {text: "client_body_temp_path t1"}, {text: "proxy_temp_path t2"},
		{text: "fastcgi_temp_path t3"}, {text: "uwsgi_temp_path t4"}, {text: "scgi_temp_path t5"},
	} {
		if name, _, _ := strings.Cut(l.text, " "); !has[name] {
			c.http.file.insert(c.http.node.body, 0, l)
		}
	}
}

func accepts(t *testing.T, dir string) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "-p", dir+"/", "-c", "nginx.conf", "-e", "error.log", "-t", "-q",
		"-g", "pid nginx.pid;")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s", out)
	}
	return err == nil
}

// hostsOf gives all names that a configuration has, and one that it has not.
func hostsOf(t *testing.T, path string) []string {
	t.Helper()
	c, err := load(t.Context(), path, nil)
	must(t, err)
	out := []string{"none.test", "sub.a.test", fmt.Sprintf("%s.none.test", strings.Repeat("x", 60))}
	for _, s := range c.servers[:min(len(c.servers), 4)] {
		for _, name := range s.names {
			if isPlainName(name) {
				out = append(out, name)
			}
		}
	}
	return out
}
