# What a script says. Its report goes to standard output, which becomes the story of
# the run; failures and debugging go to standard error.

DEBUG_LEVEL_1=1
DEBUG_LEVEL_2=2
DEBUG_LEVEL_3=3

_cw_line() {
  if [ -z "$2" ]; then
    printf '%s\n' "$1"
  else
    printf "%s='%s'\n" "$1" "$2"
  fi
}

_info() { _cw_line "$@"; }

_err() {
  _cw_line "$@" >&2
  return 1
}

_usage() {
  printf '%s\n' "$*" >&2
}

# There is no log file: what is written to it in acme.sh may hold secrets.
_log() { :; }

_cw_debugging() { [ "${DEBUG:-0}" -ge "$1" ] 2>/dev/null; }

_debug() { ! _cw_debugging 1 || _cw_line "$@" >&2; }
_debug2() { ! _cw_debugging 2 || _cw_line "$@" >&2; }
_debug3() { ! _cw_debugging 3 || _cw_line "$@" >&2; }

_cw_secure() {
  if [ "${OUTPUT_INSECURE:-0}" = 1 ]; then
    _cw_line "$@" >&2
  else
    _cw_line "$1" '[secret]' >&2
  fi
}

_secure_debug() { ! _cw_debugging 1 || _cw_secure "$@"; }
_secure_debug2() { ! _cw_debugging 2 || _cw_secure "$@"; }
_secure_debug3() { ! _cw_debugging 3 || _cw_secure "$@"; }

# Nobody reads colours in a log.
__green() { printf '%b' "$1"; }
__red() { printf '%b' "$1"; }
