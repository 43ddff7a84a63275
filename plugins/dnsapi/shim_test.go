package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk/script"
)

// helper is one use of a helper and what it prints; a status that is not 0 follows
// as "[1]". What goes to standard error is there too.
type helper struct{ run, want string }

// helpers are tried in every shell. They are what scripts do with them.
var helpers = map[string][]helper{
	"_info": {
		{`_info "some words"`, "some words\n"}, {`_info name "a value"`, "name='a value'\n"}, {`_info '100% \n'`, "100% \\n\n"},
	},
	"_err": {
		{`_err "bad"`, "bad\n[1]"}, {`_err name value`, "name='value'\n[1]"}, {`_err x 2>/dev/null`, "[1]"},
	},
	"_usage": {{`_usage "Usage: this" 2>/dev/null`, ""}, {`_usage a b`, "a b\n"}},
	"_log":   {{`_log "a secret"`, ""}},
	"_debug": {
		{`_debug x`, ""}, {`DEBUG=1; _debug x y`, "x='y'\n"}, {`DEBUG=1; _debug2 x`, ""}, {`DEBUG=2; _debug2 x`, "x\n"},
		{`DEBUG=2; _debug3 x`, ""}, {`DEBUG=3; _debug3 x`, "x\n"}, {`DEBUG=yes; _debug x`, ""}, {`DEBUG=3; _debug x 2>/dev/null`, ""},
		{`[ "$DEBUG_LEVEL_1$DEBUG_LEVEL_2$DEBUG_LEVEL_3" = 123 ]`, ""},
	},
	"_secure_debug": {
		{`_secure_debug a b`, ""}, {`DEBUG=1; _secure_debug a b`, "a='[secret]'\n"}, {`DEBUG=2; _secure_debug2 a b`, "a='[secret]'\n"},
		{`DEBUG=3; _secure_debug3 a b`, "a='[secret]'\n"}, {`DEBUG=1; OUTPUT_INSECURE=1; _secure_debug a b`, "a='b'\n"},
		{`DEBUG=1; _secure_debug2 a b; _secure_debug3 a b`, ""},
	},
	"__green": {{`__green 'a\tb'`, "a\tb"}}, "__red": {{`__red x`, "x"}},

	"_contains": {
		{`_contains abc b`, ""}, {`_contains abc x`, "[1]"}, {`_contains 'a1b' 'a[0-9]b'`, ""}, {`_contains abc 'a.c'`, ""},
		{`_contains 'x -y z' -y`, ""}, {"_contains 'one\ntwo' '^two$'", ""}, {`_contains 'a+b' 'a+b'`, ""}, {`_contains abc ''`, ""},
		{`_contains '{"a":"b\n"}' 'b\\n'`, ""},
	},
	"_startswith": {{`_startswith abc ab`, ""}, {`_startswith abc bc`, "[1]"}, {`_startswith '*.a' '\*'`, ""}},
	"_endswith":   {{`_endswith abc bc`, ""}, {`_endswith abc ab`, "[1]"}},
	"_getfield": {
		{`_getfield a,b,c 2`, "b"}, {`_getfield a:b 2 :`, "b"}, {`_getfield a,,c 2`, "a"}, {`_getfield a,b 5`, "b"},
		{`_getfield abc 1`, "abc"}, {`_getfield a,b 2>/dev/null`, "[1]"}, {`_getfield ,, 2`, ",,"},
		{`_getfield 'a*b?c' 2 '*'`, "b?c"}, {`_getfield 'a#b##d' 3 '#'`, "b"}, {`_getfield ,b 1`, ",b"}, {`_getfield 'a b  ' 2 ' '`, "b"},
		{`_getfield 'a\nb|100%|-n' 1 '|'; _getfield 'x|100%|-n' 2 '|'; _getfield 'x|100%|-n' 3 '|'`, `a\nb100%-n`}, {`_getfield "$(printf 'a,\303,c')" 2 | od -A n -t x1 | tr -d ' \n'`, "c3"},
	},
	"_upper_case": {{`echo aBz9ü | _upper_case`, "ABZ9ü\n"}}, "_lower_case": {{`echo AbZ-1 | _lower_case`, "abz-1\n"}},
	"_head_n": {{`printf '1\n2\n3\n' | _head_n 2`, "1\n2\n"}}, "_tail_n": {{`printf '1\n2\n3\n' | _tail_n 1`, "3\n"}},
	"_egrep_o": {
		{`echo '{"id":12,"x":345}' | _egrep_o '[0-9]+'`, "12\n345\n"}, {`echo a-b | _egrep_o -b`, "-b\n"},
		{`echo abc | _egrep_o 'x|c'`, "c\n"}, {`echo abc | _egrep_o '(b|x)c?'`, "bc\n"}, {`echo abc | _egrep_o x`, "[1]"},
	},
	"_sed_i": {
		{`f=$(_mktemp); echo abc >"$f"; _sed_i 's/b/X/' "$f"; cat "$f"`, "aXc\n"}, {`_sed_i x 2>/dev/null`, "[1]"},
	},
	"_normalizeJson": {
		{`printf '{\n  "a" : "b",\n  "c": [ 1 ],\n "d" :{"e" : 5}\n}\n' | _normalizeJson`, `{"a":"b","c":[ 1 ],"d":{"e" : 5}}`},
		{`printf '{"a" : "b : c"}\r\n' | _normalizeJson`, `{"a":"b : c"}`},
		{`printf '[\n  {"a" :  {"b": ["x", "y"]}, "c" : ""},\n  "d"]' | _normalizeJson`, `[{"a":{"b":["x", "y"]}, "c":""},"d"]`},
		{`printf '{"a":"  x  y "}' | _normalizeJson`, `{"a":"  x  y "}`}, {`printf '' | _normalizeJson`, ""},
	},
	"_json_decode": {{`echo 'http:\/\/x\/' | _json_decode`, "http://x/\n"}},
	"_url_replace": {{`printf 'a+b/c=' | _url_replace`, "a-b_c"}},
	"_math": {
		{`_math 1 + 2`, "3"}, {`_math "$(echo 4)" \* 5`, "20"}, {`_math 7 / 2`, "3"}, {`_math 7 % 4`, "3"}, {`_math "3 - 5"`, "-2"},
		{`IFS=,; _math 1 + 2`, "3"},
	},

	"_hex_dump": {
		{`printf abc | _hex_dump`, " 61 62 63"}, {`printf '' | _hex_dump`, ""}, {`printf 'a\nb\000\377' | _hex_dump`, " 61 0a 62 00 ff"},
		{`printf '0123456789abcdef0123' | _hex_dump | tr -d ' '`, "3031323334353637383961626364656630313233"},
		{`i=0; while [ $i -lt 40 ]; do printf a; i=$((i + 1)); done | _hex_dump | tr -d ' ' | wc -c | tr -d ' '`, "80\n"},
	},
	"_h2b": {
		{`printf 616263 | _h2b`, "abc"}, {`printf '0041 0A 4a4B' | _h2b | od -A n -t x1 | tr -d ' \n'`, "00410a4a4b"},
		{`printf 255c6e27 | _h2b`, `%\n'`}, {every + ` | _h2b | od -A n -v -t x1 | tr -d ' \n' | cksum | cut -d ' ' -f 2`, "512\n"},
		{`[ "$(` + every + ` | _h2b | _hex_dump | tr -d ' ')" = "$(` + every + `)" ]`, ""}, {`IFS=6; printf 6161 | _h2b`, "aa"},
	},
	"_url_encode": {
		{`printf 'aZ09-_.~' | _url_encode`, "aZ09-_.~"}, {`printf 'a b/=ü%%+' | _url_encode`, "a%20b%2f%3d%c3%bc%25%2b"},
		{`printf 'a b/=ü' | _url_encode upper-hex`, "a%20b%2F%3D%C3%BC"}, {`printf '@[\140{:;<>' | _url_encode`, "%40%5b%60%7b%3a%3b%3c%3e"},
		{every + ` | _h2b | _url_encode | sed 's/%../%/g' | tr -d %`, "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"},
	},
	"_base64": {
		{`printf abc | _base64`, "YWJj"}, {`printf '\000\377' | _base64`, "AP8="},
		{`printf '%060d' 1 | _base64 | wc -l | tr -d ' '`, "0\n"}, {`printf '%060d' 1 | _base64 multiline | wc -l | tr -d ' '`, "2\n"},
	},
	"_dbase64": {
		{`printf YWJj | _dbase64`, "abc"}, {`printf '%0100d' 7 | _base64 | _dbase64 | tail -c 2`, "07"},
		{`printf '%0100d' 7 | _base64 multiline | _dbase64 multiline | tail -c 2`, "07"},
	},

	// RFC 1321 A.5, FIPS 180, FIPS 202.
	"_digest": {
		{`printf abc | _digest md5 hex`, "900150983cd24fb0d6963f7d28e17f72\n"},
		{`printf abc | _digest sha1 hex`, "a9993e364706816aba3e25717850c26c9cd0d89d\n"},
		{`printf abc | _digest sha256 hex`, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"},
		{`printf abc | _digest sha256`, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="},
		{`printf abc | _digest sha3-256 hex`, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532\n"},
		{`printf abc | _digest sha512 hex | cut -c 1-16`, "ddaf35a193617aba\n"},
		{`printf abc | _digest crc32 2>/dev/null`, "[1]"}, {`printf abc | _digest 2>/dev/null`, "[1]"},
	},
	// RFC 4231 and RFC 2202: a short key, a key of a block, and longer ones.
	"_hmac": {
		{`printf 'what do ya want for nothing?' | _hmac sha256 4a656665 hex`, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843\n"},
		{`printf 'what do ya want for nothing?' | _hmac sha1 4a656665 hex`, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79\n"},
		{`printf 'what do ya want for nothing?' | _hmac md5 4A656665 hex`, "750c783e6ab0b503eaa86e310a5db738\n"},
		{`printf 'what do ya want for nothing?' | _hmac sha512 4a656665 hex | cut -c 1-16`, "164b7a7bfcf819e2\n"},
		{`printf 'Test Using Larger Than Block-Size Key - Hash Key First' | _hmac sha256 "$(printf '%0131d' 0 | sed 's/0/aa/g')" hex`,
			"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54\n"},
		{`printf 'Hi There' | _hmac sha256 0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b | _hex_dump | tr -d ' '`,
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{`for n in 128 130; do k=$(` + every + ` | cut -c 1-$n); printf '\000\n\377' | _hmac sha256 "$k" hex
			printf '\000\n\377' | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$k" -r | cut -d ' ' -f 1; done | uniq -c | tr -s ' ' | cut -d ' ' -f 2`, "2\n2\n"},
		{`printf x | _hmac sha256 2>/dev/null`, "[1]"}, {`printf x | _hmac rot13 00 2>/dev/null`, "[1]"},
	},
	"_isRSA": {{`_isRSA rsa.pem`, ""}, {`_isRSA ec256.pem`, "[1]"}, {`_isRSA none`, "[1]"}},
	"_isEcc": {{`_isEcc ec384.pem`, ""}, {`_isEcc rsa.pem`, "[1]"}},
	"_sign": {
		{`printf abc >m; printf abc | _sign rsa.pem sha256 | _dbase64 >s; openssl dgst -sha256 -verify rsa.pub -signature s m`, "Verified OK\n"},
		{ecVerify("256", 32, "sha256"), "Verified OK\n"}, {ecVerify("384", 48, "sha384"), "Verified OK\n"}, {ecVerify("521", 66, "sha512"), "Verified OK\n"},
		{`printf abc | _sign rsa.pem 2>/dev/null`, "[1]"}, {`echo x >no.pem; printf abc | _sign no.pem sha256 2>/dev/null`, "[1]"},
	},

	"_save_conf": {
		{`_saveaccountconf_mutable A 'a b'; _readaccountconf_mutable A; cat "$ACCOUNT_CONF_PATH"`, "a bSAVED_A='a b'\n"},
		{`_saveaccountconf A x; _saveaccountconf B y; _saveaccountconf A z; _readaccountconf A; _readaccountconf B`, "zy"},
		{`_saveaccountconf A x; _saveaccountconf_mutable A y; _readaccountconf A; _readaccountconf_mutable A`, "y"},
		{`_saveaccountconf AB 1; _saveaccountconf A 2; _readaccountconf AB; _readaccountconf A`, "12"},
		{`_saveaccountconf A "it's \"\$x\""; _readaccountconf A`, `it's "$x"`}, {"_saveaccountconf A 'two\nlines'; _readaccountconf A", "two\nlines"},
		{`_saveaccountconf A 'a&b|c\d' base64; _readaccountconf A; grep -c BASE64 "$ACCOUNT_CONF_PATH"`, "a&b|c\\d1\n"},
		{`_saveaccountconf A 'a&b|c\d/'; _readaccountconf A`, `a&b|c\d/`}, {`_saveaccountconf A ''; _readaccountconf A; cat "$ACCOUNT_CONF_PATH"`, "A=''\n"},
		{`_readaccountconf NONE; _readaccountconf_mutable NONE; _readdomainconf NONE`, ""},
		{`_saveaccountconf A 1; ls -l "$ACCOUNT_CONF_PATH" | cut -c 1-10`, "-rw-------\n"},
	},
	"_clearaccountconf": {
		{`_saveaccountconf A 1; _saveaccountconf B 2; _clearaccountconf A; cat "$ACCOUNT_CONF_PATH"`, "B='2'\n"},
		{`_saveaccountconf_mutable A 1; _clearaccountconf_mutable A; cat "$ACCOUNT_CONF_PATH"`, ""}, {`_clearaccountconf NONE`, ""},
	},
	"_savedomainconf": {
		{`_savedomainconf A x; _readdomainconf A; _readaccountconf A`, "x"}, {`_savedomainconf A x; _cleardomainconf A; _readdomainconf A`, ""},
	},

	"_exists": {
		{`_exists sed`, ""}, {`_exists _math`, ""}, {`_exists no_such_command`, "[1]"}, {`_exists 2>/dev/null`, "[1]"},
	},
	"_mktemp": {
		{`f=$(_mktemp); [ -f "$f" ] && [ "$f" != "$(_mktemp)" ]; case $f in "$_cw_run"/*) ;; *) echo elsewhere ;; esac`, ""},
		{`ls -l "$(_mktemp)" | cut -c 1-10`, "-rw-------\n"},
	},
	"_time":     {{`_time | tr 0-9 9`, "9999999999\n"}},
	"_utc_date": {{`_utc_date | tr 0-9 9`, "9999-99-99 99:99:99\n"}},
	"_sleep":    {{`sleep() { echo "slept $1"; }; _sleep 7`, "slept 7\n"}},
	"_is_idn":   {{`_is_idn a-b_c.example`, "[1]"}, {`_is_idn bücher.example`, ""}, {`_is_idn '*.a,b.example'`, "[1]"}},
	"_idn": {
		{`_idn _acme-challenge.example.com`, "_acme-challenge.example.com"}, {`_idn bücher.example`, "xn--bcher-kva.example"},
		{`_idn a.example,bücher.example`, "a.example,xn--bcher-kva.example"},
		{`command() { return 1; }; _idn bücher.example`, "install idn2 or idn for the name bücher.example\n[1]"},
		{`command() { [ "$2" = idn ]; }; idn() { sed 's/^/by idn: /'; }; _idn ü,ö`, "by idn: ü,by idn: ö"},
		{`idn2() { cat; return 2; }; _idn ü`, "[1]"}, {`_idn '*.bücher.example'`, "*.xn--bcher-kva.example"},
	},
	"_inithttp": {{`_inithttp`, ""}}, "_resethttp": {{`ACME_HTTP_NO_REDIRECTS=1; _resethttp; echo "$ACME_HTTP_NO_REDIRECTS"`, "\n"}},
}

// every prints all bytes in hexadecimal.
const every = `{ i=0; while [ $i -lt 256 ]; do printf '%02x' $i; i=$((i + 1)); done; }`

// ecVerify signs and has openssl verify r and s, which it wants as ASN.1.
func ecVerify(curve string, size int, hash string) string {
	return fmt.Sprintf(`printf abc >m; printf abc | _sign ec%[1]s.pem sha256 | _dbase64 | _hex_dump | tr -d ' ' >s
[ "$(wc -c <s)" -eq %[3]d ] || echo "wrong length"
printf 'asn1=SEQUENCE:s\n[s]\nr=INTEGER:0x%%s\ns=INTEGER:0x%%s\n' "$(cut -c 1-%[2]d s)" "$(cut -c %[4]d- s)" >c
openssl asn1parse -genconf c -noout -out d && openssl dgst -%[5]s -verify ec%[1]s.pub -signature d m`, curve, 2*size, 4*size, 2*size+1, hash)
}

// Each helper by itself, in each shell: all in one run of the shell, each use in a
// subshell and with files of its own.
func TestHelpers(t *testing.T) {
	t.Parallel()
	text, err := shim()
	if err != nil {
		t.Fatal(err)
	}
	keys := t.TempDir()
	keygen(t, keys)
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			put(t, dir, "shim.sh", text)
			var run strings.Builder
			fmt.Fprintf(&run, "cd %s\n_cw_run=%s\nACCOUNT_CONF_PATH=$_cw_run/account\nDOMAIN_CONF=$_cw_run/domain\n. ./shim.sh\ncp %s/* .\n", dir, dir, keys)
			var names []string
			for name, uses := range helpers {
				for i, use := range uses {
					names = append(names, fmt.Sprintf("%s %d", name, i))
					fmt.Fprintf(&run, "rm -f account domain\nprintf '\\n@@%s %d@@'\n(\n%s\n) 2>&1 </dev/null\n_cw_s=$?\n[ $_cw_s = 0 ] || printf '[%%d]' $_cw_s\n",
						name, i, use.run)
				}
			}
			argv := strings.Fields(shell)
			result, err := script.Run(t.Context(), script.Command{
				Name: "the table", Path: argv[0], Args: append(argv[1:], put(t, dir, "run.sh", run.String()+"exit 0\n")),
				Env: script.Environ(map[string]string{"LC_ALL": "C.UTF-8"}, "DEBUG"),
			})
			if err != nil {
				t.Fatalf("%v", err)
			}
			got := map[string]string{}
			for part := range strings.SplitSeq(result.Stdout, "\n@@") {
				if name, out, ok := strings.Cut(part, "@@"); ok {
					got[name] = out
				}
			}
			for _, id := range names {
				name, index, _ := strings.Cut(id, " ")
				var i int
				if _, err := fmt.Sscan(index, &i); err != nil {
					t.Fatal(err)
				}
				use := helpers[name][i]
				if got[id] != use.want {
					t.Errorf("%s prints %q, want %q", use.run, got[id], use.want)
				}
			}
		})
	}
}

// Every helper that scripts use has a table, or is tested with the requests.
func TestEveryHelperIsThere(t *testing.T) {
	text, err := shim()
	if err != nil {
		t.Fatal(err)
	}
	// As counted in acme.sh's scripts.
	for name := range strings.FieldsSeq(`_err _debug _info _readaccountconf_mutable _saveaccountconf_mutable _post _get _contains _math _debug2
		_egrep_o _head_n _base64 _normalizeJson _tail_n _lower_case _url_encode _sleep _saveaccountconf _savedomainconf _hex_dump _hmac
		_digest _readdomainconf _clearaccountconf_mutable _secure_debug _secure_debug2 _secure_debug3 _debug3 _time _endswith _startswith
		_dbase64 _exists _clearaccountconf _idn _cleardomainconf _mktemp _getfield _sign _utc_date _sed_i _readaccountconf _upper_case _h2b
		_json_decode _isRSA _ns_lookup __green __red _usage _log _url_replace _resethttp`) {
		if !strings.Contains(text, "\n"+name+"() ") {
			t.Errorf("the shim has no %s", name)
		}
		tested := name == "_get" || name == "_post" || name == "_ns_lookup"
		for _, uses := range helpers {
			for _, use := range uses {
				tested = tested || mentions(use.run, name)
			}
		}
		if !tested {
			t.Errorf("%s has no table", name)
		}
	}
}

func keygen(t *testing.T, dir string) {
	t.Helper()
	for _, line := range []string{
		"openssl genrsa -out rsa.pem 2048", "openssl rsa -in rsa.pem -pubout -out rsa.pub",
		"openssl ecparam -name prime256v1 -genkey -noout -out ec256.pem", "openssl ec -in ec256.pem -pubout -out ec256.pub",
		"openssl ecparam -name secp384r1 -genkey -noout -out ec384.pem", "openssl ec -in ec384.pem -pubout -out ec384.pub",
		"openssl ecparam -name secp521r1 -genkey -noout -out ec521.pem", "openssl ec -in ec521.pem -pubout -out ec521.pub",
	} {
		if _, err := script.Run(t.Context(), script.Command{Line: line, Dir: dir}); err != nil {
			t.Fatal(err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 8 {
		t.Fatalf("keys: %v", files)
	}
	_ = os.Chmod(dir, 0o700)
}
