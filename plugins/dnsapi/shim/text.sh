# Text: most of these are filters, or ask something about their first argument.
# Patterns are basic regular expressions unless it says otherwise.

_cw_matches() { printf '%s\n' "$1" | grep -- "$2" >/dev/null 2>&1; }

_contains() { _cw_matches "$1" "$2"; }
_startswith() { _cw_matches "$1" "^$2"; }
_endswith() { _cw_matches "$1" "$2\$"; }

# STRING NUMBER [SEPARATOR]: that field, or the last one before it that is not empty,
# or the whole.
_getfield() {
  if [ -z "$2" ]; then
    _usage "Usage: _getfield STRING NUMBER [SEPARATOR]"
    return 1
  fi
  _cw_field=$(printf '%s\n' "$1" | cut -d "${3:-,}" -f "1-$2" | tr "${3:-,}" '\n' | sed '/^$/d' | tail -n 1)
  printf '%s' "${_cw_field:-$1}"
}

_upper_case() { LC_ALL=C tr '[:lower:]' '[:upper:]'; }
_lower_case() { LC_ALL=C tr '[:upper:]' '[:lower:]'; }

_head_n() { head -n "$1"; }
_tail_n() { tail -n "$1"; }

# Every match of an EXTENDED regular expression, one a line.
_egrep_o() { grep -E -o -- "$1" 2>/dev/null; }

# SCRIPT FILE: edits the file, which stays the same file.
_sed_i() {
  if [ -z "$2" ]; then
    _usage "Usage: _sed_i SCRIPT FILE"
    return 1
  fi
  _cw_edited=$(_mktemp) || return 1
  sed "$1" "$2" >"$_cw_edited" && cat "$_cw_edited" >"$2"
}

# JSON on one line, without space between a name and a string, object or list: first the
# lines are put together without their indentation, then each of the three is closed up.
_normalizeJson() {
  sed 's/^ *//' | tr -d '\r\n' |
    sed -e 's/" *: *"/":"/g' -e 's/" *: *{/":{/g' -e 's/" *: *\[/":[/g' | tr -d '\n'
}

_json_decode() { sed 's#\\/#/#g'; }

# Base64 as it stands in a URL (RFC 4648 section 5), without padding.
_url_replace() { tr '/+' '_-' | tr -d '= '; }

# ARITHMETIC: its words may come as several arguments.
_math() {
  _cw_sum=
  for _cw_word in "$@"; do
    _cw_sum="$_cw_sum $_cw_word"
  done
  # shellcheck disable=SC2004
  printf '%s' "$(($_cw_sum))"
}

_cw_cr=$(printf '\r')
