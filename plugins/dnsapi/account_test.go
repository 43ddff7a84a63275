package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

func TestParseConf(t *testing.T) {
	for text, want := range map[string][]variable{
		"":                                nil,
		"A='b'\n":                         {{"A", "b"}},
		"A=b":                             {{"A", "b"}},
		"A=''":                            {{"A", ""}},
		"A=":                              {{"A", ""}},
		"export A='b'; \n  B=\"c d\" # x": {{"A", "b"}, {"B", "c d"}},
		"# A=1\n\nB=2":                    {{"B", "2"}},
		`A="a\"\$\\b\c"`:                  {{"A", `a"$\b\c`}},
		`A=a\ b'c d'"e f"`:                {{"A", "a bc de f"}},
		"A='two\nlines'\nB=1":             {{"A", "two\nlines"}, {"B", "1"}},
		`A='it'\''s'`:                     {{"A", "it's"}},
		"A='" + base64Start + "aXQncw==" + base64End + "'": {{"A", "it's"}},
		"A='" + base64Start + "***" + base64End + "'":      {{"A", base64Start + "***" + base64End}},
		"A='x'\r\nB='y'\r\n":                               {{"A", "x"}, {"B", "y"}},
		"exportA=1":                                        {{"exportA", "1"}},
	} {
		got, unread := parseConf(text)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(variable{})); diff != "" || len(unread) > 0 {
			t.Errorf("%q (-want +got):\n%s%v", text, diff, unread)
		}
	}
	// What only a shell can tell is told, and is not run.
	const odd = "A=1\nB=$(id)\nC=\"$HOME\"\nD=`id`\necho hello\nE=2\nF='open\n"
	got, unread := parseConf(odd)
	if diff := cmp.Diff([]variable{{"A", "1"}, {"E", "2"}}, got, cmp.AllowUnexported(variable{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{2, 3, 4, 5, 7}, unread); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// The parser takes a value as a shell does, or not at all.
func FuzzParseConf(f *testing.F) {
	for _, seed := range []string{"A='b'", "A=\"b\\\"c\"; B=d", "export A=1\nB='x y'\\''z'", "A='a\nb'\nC=d#e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		vars, unread := parseConf(text)
		for _, v := range vars {
			if !identifier.MatchString(v.name) {
				t.Errorf("the name %q", v.name)
			}
		}
		lines := strings.Count(text, "\n") + 1
		for i, line := range unread {
			if line < 1 || line > lines || i > 0 && line < unread[i-1] {
				t.Errorf("lines %v of %d", unread, lines)
			}
		}
		path := filepath.Join(t.TempDir(), "account.conf")
		a := &account{path: path}
		for _, v := range vars {
			a.set(v.name, v.value)
		}
		if err := a.save(); err != nil {
			t.Fatal(err)
		}
		again, err := openAccount(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a.vars, again.vars, cmp.AllowUnexported(variable{})); diff != "" {
			t.Errorf("written and read again (-want +got):\n%s", diff)
		}
	})
}

// What Go writes the shell reads, and the other way round.
func TestTheAccountFileIsTheSameToGoAndTheShell(t *testing.T) {
	text, err := shim()
	if err != nil {
		t.Fatal(err)
	}
	values := []string{"plain", "with space", `it's "quoted" $HOME \ & | / *`, "two\nlines", "", "ü", "a=b;c#d"}
	for _, shell := range shells {
		dir := t.TempDir()
		a := &account{path: filepath.Join(dir, "account.conf")}
		for i, v := range values {
			a.set("SAVED_V"+string(rune('0'+i)), v)
		}
		if err := a.save(); err != nil {
			t.Fatal(err)
		}
		put(t, dir, "shim.sh", text)
		run := "_cw_run=.\nACCOUNT_CONF_PATH=account.conf\n. ./shim.sh\n" +
			`for i in 0 1 2 3 4 5 6; do v=$(_readaccountconf_mutable V$i); printf '%s@@' "$v"; _saveaccountconf W$i "$v"; done` + "\nexit 0\n"
		argv := strings.Fields(shell)
		result, err := script.Run(t.Context(), script.Command{Path: argv[0], Args: append(argv[1:], put(t, dir, "run.sh", run)), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Join(values, "@@") + "@@"; result.Stdout != want {
			t.Errorf("%s reads %q, want %q", shell, result.Stdout, want)
		}
		again, err := openAccount(a.path)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, v := range again.vars {
			got[v.name] = v.value
		}
		for i, v := range values {
			if name := "W" + string(rune('0'+i)); got[name] != v {
				t.Errorf("%s wrote %q for %q", shell, got[name], v)
			}
		}
	}
}

// An account.conf of acme.sh is taken over: what this script asks for, once, and
// again when it has changed.
func TestTakeOver(t *testing.T) {
	dir := t.TempDir()
	_ = os.Chmod(dir, 0o700)
	put(t, dir, "dns_x.sh", `dns_x_add() {
X_Token="${X_Token:-$(_readaccountconf_mutable X_Token)}"
echo "token $X_Token, user $X_User"
_saveaccountconf_mutable X_Token "$X_Token-new"
}
dns_x_rm() { dns_x_add; }
`)
	theirs := put(t, dir, "account.conf", "LOG_FILE='/var/log/acme.log'\nUPGRADE_HASH='abc'\nUSER_PATH='/opt'\nSAVED_X_Token='t0k3n'\nX_User='me'\n"+
		"SAVED_Y_Token='of another'\nX_UserX='no'\nHTTPS_INSECURE=''\nODD=$(id)\n")
	state := t.TempDir()
	with := settings{Dir: dir, Script: "x", AccountConf: theirs}
	r := performed(t, configured(t, with, state), one)
	story := r.story()
	for _, words := range []string{"took over from " + theirs + ": HTTPS_INSECURE, X_Token, X_User", theirs + ":9 holds more", "user me"} {
		if !strings.Contains(story, words) {
			t.Errorf("the story does not say %q:\n%s", words, story)
		}
	}
	if strings.Contains(story, "t0k3n") {
		t.Errorf("the story shows the token:\n%s", story)
	}
	kept := func() string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(state, "account.conf"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := kept(); !strings.Contains(got, "SAVED_X_Token='t0k3n-new'\n") || strings.Contains(got, "another") || strings.Contains(got, "acme.log") {
		t.Errorf("kept is:\n%s", got)
	}
	// It is the same file: what the script has kept since is not put back.
	if r := performed(t, configured(t, with, state), two); strings.Contains(r.story(), "took over") {
		t.Error("it is taken over again")
	}
	if got := kept(); !strings.Contains(got, "SAVED_X_Token='t0k3n-new-new'\n") {
		t.Errorf("kept is:\n%s", got)
	}
	put(t, dir, "account.conf", "SAVED_X_Token='other'\n")
	performed(t, configured(t, with, state), three)
	if got := kept(); !strings.Contains(got, "SAVED_X_Token='other-new'\n") {
		t.Errorf("kept is:\n%s", got)
	}
	// It may be gone once it was taken over, but not before.
	if err := os.Remove(theirs); err != nil {
		t.Fatal(err)
	}
	performed(t, configured(t, with, state), one)
	fresh := configured(t, with, t.TempDir())
	if err := fresh.Perform(t.Context(), []sdk.Challenge{one}, &recorder{}); err == nil || !strings.Contains(err.Error(), theirs) {
		t.Errorf("without the file: %v", err)
	}
}

// Settings win over what is kept; literals are kept, references are not.
func TestWhatIsGivenAndWhatIsKept(t *testing.T) {
	dir, _ := scripted(t, `echo "A=$A B=$B C=$C"; _saveaccountconf C "$C"`, "")
	state := t.TempDir()
	env := of("B", "by reference")
	env["A"] = sdk.SecretValue{Secret: "as it's", Literal: true}
	env["C"] = sdk.SecretValue{Secret: "first"}
	with := settings{Dir: dir, Script: "x", Env: env}
	if r := performed(t, configured(t, with, state), one); !strings.Contains(r.story(), "A=as it's B=by reference C=first") {
		t.Error(r.story())
	}
	with.Env = of("C", "second")
	if r := performed(t, configured(t, with, state), one); !strings.Contains(r.story(), "A=as it's B= C=second") {
		t.Error(r.story())
	}
	with.Env = nil
	if r := performed(t, configured(t, with, state), one); !strings.Contains(r.story(), "A=as it's B= C=second") {
		t.Error(r.story())
	}
}
