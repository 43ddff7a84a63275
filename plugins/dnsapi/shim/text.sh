# Text: most of these are filters, or ask something about their first argument.
# Patterns are basic regular expressions unless it says otherwise.

_cw_matches() { printf '%s\n' "$1" | grep -- "$2" >/dev/null 2>&1; }

_contains() { _cw_matches "$1" "$2"; }
_startswith() { _cw_matches "$1" "^$2"; }
_endswith() { _cw_matches "$1" "$2\$"; }

# STRING FIELD [SEPARATOR]: whether one of the fields is FIELD.
_hasfield() {
  case "${3:-,}$1${3:-,}" in
  *"${3:-,}$2${3:-,}"*) return 0 ;;
  esac
  return 1
}

# STRING NUMBER [SEPARATOR]: that field, or the last one before it that is not empty,
# or the whole.
_getfield() {
  if [ -z "$2" ]; then
    _usage "Usage: _getfield STRING NUMBER [SEPARATOR]"
    return 1
  fi
  _cw_at=$2
  while [ "$_cw_at" -gt 0 ]; do
    _cw_field=$(printf '%s\n' "$1" | cut -d "${3:-,}" -f "$_cw_at")
    if [ "$_cw_field" ]; then
      printf '%s' "$_cw_field"
      return 0
    fi
    _cw_at=$((_cw_at - 1))
  done
  printf '%s' "$1"
}

_upper_case() { LC_ALL=C tr '[:lower:]' '[:upper:]'; }
_lower_case() { LC_ALL=C tr '[:upper:]' '[:lower:]'; }

_head_n() { head -n "$1"; }
_tail_n() { tail -n "$1"; }
_tail_c() { tail -c "$1"; }

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

# JSON on one line, without space between a name and a string, object or list.
_normalizeJson() {
  sed -e 's/" *: *\(["{[]\)/":\1/g' -e 's/^  *\([^ ]\)/\1/' | tr -d '\r\n'
}

_json_decode() { sed 's#\\/#/#g'; }

_json_encode() {
  sed -e "s/$_cw_cr/\\\\r/g" -e 's/"/\\"/g' | sed -e ':a' -e '$!{N;ba' -e '}' -e 's/\n/\\n/g' | tr -d '\n'
}

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
