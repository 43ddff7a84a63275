package main

import (
	"strings"
	"testing"
)

func TestFlatten(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		sources []source
		want    string
		wrong   string
	}{
		"one":     {[]source{{"/m.vcl", "vcl 4.1;"}}, "vcl 4.1;", ""},
		"include": {[]source{{"/m.vcl", "a; include \"b.vcl\" ; c"}, {"/etc/varnish/b.vcl", "b # end"}}, "a; \nb # end\n c", ""},
		"relative": {[]source{{"/x/m.vcl", `include "./y/b.vcl";`}, {"/x/y/b.vcl", `include "./c.vcl";d`}, {"/x/y/c.vcl", "c"}},
			"\n\nc\nd\n", ""},
		"twice": {[]source{{"/m.vcl", `include "b.vcl";include {"b.vcl"};`}, {"/b.vcl", "1"}, {"/b.vcl", "2"}}, "\n1\n\n2\n", ""},
		"glob": {[]source{{"/m.vcl", `include +glob "/x/*.vcl"; include """/c.vcl""";`}, {"/x/a.vcl", "a"}, {"/x/b.vcl", "b"}, {"/c.vcl", "c"}},
			"\na\n\nb\n \nc\n", ""},
		"no statements": {[]source{{"/m.vcl", "# include \"a\";\n/* include \"a\"; */ // include \"a\";\n" +
			`set x = "include "; y = {"include "a";"}; C{ include "a"; }C :aGVs//8=: include_me;`}}, "=", ""},
		"missing":    {[]source{{"/m.vcl", `include "b.vcl";`}}, "", `include "b.vcl" in /m.vcl`},
		"other":      {[]source{{"/m.vcl", `include "b.vcl";`}, {"/c.vcl", ""}}, "", `include "b.vcl"`},
		"left":       {[]source{{"/m.vcl", ""}, {"/c.vcl", ""}}, "", "no statement includes the source /c.vcl"},
		"empty glob": {[]source{{"/m.vcl", `include +glob "/x/*";`}, {"/y/a", ""}}, "", "/x/*"},
	} {
		got, err := flatten(x.sources)
		if x.want == "=" {
			x.want = x.sources[0].text
		}
		if got != x.want || (err == nil) != (x.wrong == "") || err != nil && !strings.Contains(err.Error(), x.wrong) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestSyntax(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"vcl 4.1;": "vcl 4.1;", "# x\n/* y */ vcl\n4.0 ; sub": "vcl 4.0;", "": "", "sub x;": "", "vcl": "",
	} {
		got, err := syntaxOf(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// What we write we read again, and a wrapped VCL can be wrapped no further than
// its text goes.
func FuzzWrap(f *testing.F) {
	f.Add("boot", "vcl 4.1;\ninclude \"x\";", "token", "token.print")
	f.Add("a \"b\\\n", "# c\nvcl 4.0;", "-", "_.-")
	f.Add("x", "vcl 4.1; C{ }", "t", "t.t")
	f.Fuzz(func(t *testing.T, original, flat, token, body string) {
		_ = includes(flat)
		_, _ = sources(flat)
		text, err := wrap(wrapped{original: original, flat: flat, answers: answers{token: body}, health: map[string]string{body: "sick"}})
		if err != nil || original == "" || !tokenPattern.MatchString(token) || !bodyPattern.MatchString(body) {
			return
		}
		w, err := unwrap(text)
		if err != nil || w.original != original || w.answers[token] != body || w.flat != flat {
			t.Errorf("%q becomes %+v, %v", text, w, err)
		}
	})
}

func TestQuotesWords(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"vcl.use": "vcl.use", "boot_1-a": "boot_1-a", "boot.*": "boot.*", "": `""`, "a b": `"a b"`, "a\"\\\n": `"a\"\\\012"`, "ä": `"\303\244"`,
	} {
		if got := quoteWord(word); got != want {
			t.Errorf("%q: %s", word, got)
		}
	}
}
