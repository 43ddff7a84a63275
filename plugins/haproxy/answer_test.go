package main

import (
	"errors"
	"math/big"
	"strings"
	"testing"
)

// The texts are what haproxy 2.6.12 answers.
func TestInventory(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   inventory
		ok     bool
	}{
		"none":               {"", inventory{}, true},
		"two":                {"# filename\n/c/a.pem\n/c/b.pem", inventory{files: []string{"/c/a.pem", "/c/b.pem"}}, true},
		"open":               {"# transaction\n*/c/a.pem\n# filename\n/c/a.pem\n", inventory{files: []string{"/c/a.pem"}, open: "/c/a.pem"}, true},
		"relative":           {"# filename\ncerts/a.pem", inventory{files: []string{"certs/a.pem"}}, true},
		"level user":         {"Can't allocate memory!", inventory{}, false},
		"not allowed":        {"Permission denied", inventory{}, false},
		"old":                {"Unknown command, but maybe one of the following ones is a better match:\n  show ssl cert", inventory{}, false},
		"star in files":      {"# filename\n*/c/a.pem", inventory{}, false},
		"no star in open":    {"# transaction\n/c/a.pem", inventory{}, false},
		"without a headline": {"/c/a.pem", inventory{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := parseInventory(c.answer)
			if ok != c.ok {
				t.Fatalf("ok is %v", ok)
			}
			if ok && (strings.Join(got.files, " ") != strings.Join(c.want.files, " ") || got.open != c.want.open) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTransaction(t *testing.T) {
	for answer, want := range map[string]struct {
		file    string
		created bool
		ok      bool
	}{
		"Transaction created for certificate /c/a.pem!":                                                    {"/c/a.pem", true, true},
		"Transaction updated for certificate /c/other.pem!":                                                {"/c/other.pem", false, true},
		"some warning\nTransaction created for certificate /c/a.pem!":                                      {"/c/a.pem", true, true},
		"unable to load certificate from file '/c/a.pem'.\nCan't load the payload\nCan't update /c/a.pem!": {},
		"Can't replace a certificate which is not referenced by the configuration!\nCan't update /nope!":   {},
		"Permission denied": {},
		"":                  {},
	} {
		file, created, ok := parseTransaction(answer)
		if file != want.file || created != want.created || ok != want.ok {
			t.Errorf("%q: %q, %v, %v", answer, file, created, ok)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for answer, want := range map[string][]bool{
		// isSuccess, isAborted, isCreated, isDeleted, isTakenOut
		"Committing /c/a.pem..\nSuccess!":                                                  {true, false, false, false, false},
		"Committing /c/a.pem\nsome warning\nSuccess!":                                      {true, false, false, false, false},
		"Inserting certificate '/c/b.pem' in crt-list '/c'..\nSuccess!":                    {true, false, false, false, false},
		"inconsistencies between private key and certificate loaded 'F'.\nCan't commit F!": {false, false, false, false, false},
		"No ongoing transaction! !\nCan't commit /c/a.pem!":                                {false, true, false, false, false},
		"Success! or not":                                                                {false, false, false, false, false},
		"No ongoing transaction!":                                                        {false, true, false, false, false},
		"Transaction aborted for certificate 'F'!":                                       {false, true, false, false, false},
		"New empty certificate store '/c/b.pem'!":                                        {false, false, true, false, false},
		"Certificate '/c/b.pem' already exists!":                                         {false, false, false, false, false},
		"Certificate '/c/b.pem' deleted!":                                                {false, false, false, true, false},
		"Entry '/c/b.pem' deleted in crtlist '/c'!":                                      {false, false, false, false, true},
		"Can't remove the certificate: certificate '/c/b.pem' in use, can't be deleted!": {false, false, false, false, false},
		"Can't edit the crt-list: certificate '/c/b.pem' is empty!":                      {false, false, false, false, false},
		"": {false, false, false, false, false},
	} {
		got := []bool{isSuccess(answer), isAborted(answer), isCreated(answer), isDeleted(answer), isTakenOut(answer)}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q: %v, want %v", answer, got, want)
				break
			}
		}
	}
}

func TestDetail(t *testing.T) {
	d, ok := parseDetail("Filename: /c/a.pem\nStatus: Used\nSerial: 7951A397\nSubject: /CN=Status: Unused\n")
	if !ok || d.status != "Used" || d.serial.Cmp(big.NewInt(0x7951A397)) != 0 {
		t.Errorf("%+v, %v", d, ok)
	}
	if d, ok := parseDetail("Filename: /c/b.pem\nStatus: Empty\nOCSP Response Key: "); !ok || d.status != "Empty" || d.serial != nil {
		t.Errorf("%+v, %v", d, ok)
	}
	if _, ok := parseDetail("Can't display the certificate: Not found or the certificate is a bundle!"); ok {
		t.Error("that is no detail")
	}
}

func TestEntry(t *testing.T) {
	const found = `type=str, case=sensitive, found=yes, idx=tree, key="/x", value="y.z", type="str"`
	const none = `type=str, case=sensitive, found=no`
	for answer, want := range map[string]struct {
		value     string
		found, ok bool
	}{
		found:               {"y.z", true, true},
		none:                {"", false, true},
		none + "\n" + found: {"y.z", true, true},
		"":                  {"", false, true},
		`type=beg, case=sensitive, found=yes, idx=tree, key="/", value="all", type="str"`: {"", false, true},
		"Unknown map identifier. Please use #<id> or <file>.":                             {},
		"Permission denied": {},
	} {
		value, found, ok := parseEntry(answer, "/x")
		if value != want.value || found != want.found || ok != want.ok {
			t.Errorf("%q: %q, %v, %v", answer, value, found, ok)
		}
	}
}

func TestNumberedLines(t *testing.T) {
	for line, want := range map[string][2]string{
		"/c/a.pem:2 [alpn h2 ] a.test": {"/c/a.pem", "2"},
		"/c/a:b.pem:0":                 {"/c/a:b.pem", "0"},
		"/c/a.pem":                     {"/c/a.pem", ""},
	} {
		if file, number := parseNumbered(line); file != want[0] || number != want[1] {
			t.Errorf("%q: %q, %q", line, file, number)
		}
	}
}

func TestJudge(t *testing.T) {
	for answer, want := range map[string]error{
		"Permission denied":      errLevel,
		"Can't allocate memory!": errLevel,
		"Unknown command, but maybe one of the following ones is a better match:\n  help": errUnknown,
	} {
		if err := judge("try", answer); !errors.Is(err, want) {
			t.Errorf("%q: %v", answer, err)
		}
	}
	long := judge("try", "a\nb "+strings.Repeat("ü", 1000)).Error()
	if !strings.HasPrefix(long, "try: haproxy answers: a b ü") || len(long) > 2*quoteLimit || strings.Contains(long, "\n") {
		t.Errorf("%d bytes: %s", len(long), long)
	}
	if err := judge("try", ""); !strings.Contains(err.Error(), "nothing") {
		t.Error(err)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		"# transaction\n*/c/a.pem\n# filename\n/c/a.pem\n", "Transaction updated for certificate /c/other.pem!",
		"Filename: /c/a.pem\nStatus: Used\nSerial: 7951A397\n", "# /c\n/c/a.pem:2 [alpn h2 ] a.test\n",
		`type=str, case=sensitive, found=yes, idx=tree, key="/x", value="y.z", type="str"`, "Committing F.\nSuccess!", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		inventory, ok := parseInventory(answer)
		if ok && (isPermissionDenied(answer) || isUnknownCommand(answer)) {
			t.Error("a refusal is taken for an inventory")
		}
		for _, file := range append(inventory.files, inventory.open) {
			if strings.Contains(file, "\n") || !strings.Contains(answer, file) {
				t.Errorf("the file %q is not one of the answer", file)
			}
		}
		if file, _, ok := parseTransaction(answer); ok && (file == "" || !strings.Contains(answer, file)) {
			t.Errorf("the transaction's file is %q", file)
		}
		if d, ok := parseDetail(answer); ok && d.status == "" {
			t.Error("a detail without a status")
		}
		if lines, ok := parseListed(answer); ok {
			for _, line := range lines {
				parseNumbered(line)
			}
		}
		if value, found, ok := parseEntry(answer, "/x"); found && (!ok || !strings.Contains(answer, value)) {
			t.Error("a value that is not in the answer")
		}
		if isSuccess(answer) && !strings.Contains(answer, "Success!") {
			t.Error("success without the word")
		}
		_ = judge("try", answer).Error()
	})
}
