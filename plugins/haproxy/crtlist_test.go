package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// crtLists are files as people have them.
var crtLists = map[string]string{
	"empty":          "",
	"comments":       "# one\n\n  # two\n",
	"plain":          "/c/a.pem\n/c/b.pem\n",
	"filters":        "/c/a.pem a.test *.a.test !no.a.test\n",
	"options":        "/c/a.pem [alpn h2,http/1.1 ssl-min-ver TLSv1.2] a.test\n",
	"options, tight": "/c/a.pem[alpn h2]a.test\n",
	"empty options":  "/c/a.pem [] a.test\n",
	"CRLF":           "# x\r\n/c/a.pem [alpn h2] a.test\r\n\r\n",
	"no last end":    "/c/b.pem\n/c/a.pem",
	"tabs":           "\t/c/a.pem\t\ta.test\t\n",
	"twice":          "/c/a.pem a.test\n/c/a.pem [alpn h2] b.test\n",
	"relative":       "a.pem a.test\n",
	"not UTF-8":      "# caf\xe9\n/c/a.pem\n",
	"no file":        "] a.test\n[alpn h2] a.test\n",
	"commented out":  "#/c/a.pem\n",
	"vertical tab":   "/c/a.pem\v\fa.test\n",
}

func TestCrtListKeepsEveryByte(t *testing.T) {
	for name, text := range crtLists {
		list := parseCrtList([]byte(text))
		if got := string(list.bytes()); got != text {
			t.Errorf("%s: %q becomes %q", name, text, got)
		}
		added := string(list.add("/c/new.pem").bytes())
		rest, ok := strings.CutPrefix(added, text)
		if !ok || string(list.bytes()) != text {
			t.Errorf("%s: the new line changes the old ones: %q", name, added)
		}
		end := "\n"
		if strings.Contains(text, "\r\n") {
			end = "\r\n"
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			rest = strings.TrimPrefix(rest, end)
		}
		if rest != "/c/new.pem"+end {
			t.Errorf("%s: %q is added", name, rest)
		}
		if found := parseCrtList([]byte(added)).find("/c/new.pem", configuration{}.absolute); len(found) != 1 {
			t.Errorf("%s: the new line is not found", name)
		}
	}
}

func TestCrtListFinds(t *testing.T) {
	base := configuration{crtBase: "/c"}
	for name, want := range map[string]struct {
		found   int
		rest    string
		filters string
	}{
		"plain":          {found: 1},
		"filters":        {1, "a.test *.a.test !no.a.test", "a.test *.a.test !no.a.test"},
		"options":        {1, "[alpn h2,http/1.1 ssl-min-ver TLSv1.2] a.test", "a.test"},
		"options, tight": {1, "[alpn h2]a.test", "a.test"},
		"empty options":  {1, "[] a.test", "a.test"},
		"CRLF":           {1, "[alpn h2] a.test", "a.test"},
		"no last end":    {found: 1},
		"tabs":           {1, "a.test", "a.test"},
		"twice":          {2, "a.test", "a.test"},
		"relative":       {1, "a.test", "a.test"},
		"not UTF-8":      {found: 1},
		"vertical tab":   {1, "a.test", "a.test"},
		"no file":        {}, "empty": {}, "comments": {}, "commented out": {},
	} {
		all := parseCrtList([]byte(crtLists[name])).find("/c/a.pem", base.absolute)
		if len(all) != want.found {
			t.Errorf("%s: found %d times", name, len(all))
		}
		got := slices.Concat(all, []crtEntry{{}})[0]
		if got.rest != want.rest || strings.Join(got.filters, " ") != want.filters {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := parseCrtList([]byte(crtLists["filters"])).names(); !slices.Equal(got, []string{"a.test", "*.a.test"}) {
		t.Errorf("names are %q", got)
	}
}

// A path is the same by whatever symlink it is reached.
func TestCrtListFindsBySymlink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
	must(t, os.Symlink("real", filepath.Join(dir, "link")))
	list := parseCrtList([]byte(dir + "/link/a.pem\n"))
	if len(list.find(filepath.Join(dir, "real", "a.pem"), configuration{}.absolute)) != 1 {
		t.Error("it is not found")
	}
	if len(list.find(filepath.Join(dir, "real", "b.pem"), configuration{}.absolute)) != 0 {
		t.Error("another one is found")
	}
}

func FuzzCrtList(f *testing.F) {
	for _, text := range crtLists {
		f.Add([]byte(text), "/c/new.pem")
	}
	f.Fuzz(func(t *testing.T, data []byte, file string) {
		list := parseCrtList(data)
		if string(list.bytes()) != string(data) {
			t.Fatalf("%q becomes %q", data, list.bytes())
		}
		for _, e := range list.entries() {
			if e.file == "" || strings.ContainsAny(e.file, " \t\n") || e.file[0] == '#' {
				t.Errorf("an entry for %q", e.file)
			}
		}
		if !onSocket.MatchString(file) || !filepath.IsAbs(file) {
			return
		}
		added := list.add(file)
		if !strings.HasPrefix(string(added.bytes()), string(data)) || string(list.bytes()) != string(data) {
			t.Errorf("%q becomes %q", data, added.bytes())
		}
		if len(parseCrtList(added.bytes()).find(file, configuration{}.absolute)) == 0 {
			t.Errorf("%q is not found in %q", file, added.bytes())
		}
		if len(added.entries()) != len(list.entries())+1 {
			t.Errorf("%q has %d entries more", added.bytes(), len(added.entries())-len(list.entries()))
		}
	})
}
