# Runs the functions of the script, all in this one shell: what one call remembers in a
# variable is there for the next. Around each call a mark is printed on both streams.

_cw_mark() {
  printf '\n%s %s %s %s\n' "$_cw_nonce" "$1" "$2" "$3"
  printf '\n%s %s %s %s\n' "$_cw_nonce" "$1" "$2" "$3" >&2
}

# FILE NAME: reads the script and looks whether it has what is to be called.
_cw_source() {
  _cw_script=$2
  # shellcheck disable=SC1090
  if ! . "$1"; then
    _cw_mark failed load
    exit 0
  fi
  if ! _exists "${2}_add" || ! _exists "${2}_rm"; then
    _cw_mark failed functions
    exit 0
  fi
  _cw_mark loaded
}

# What a call set for its own requests, or changed of the shell, is not for the next one.
_cw_fresh() {
  unset _H1 _H2 _H3 _H4 _H5 IFS response
  set +e +f +u
  PATH=$_cw_path
  cd "$_cw_run" || exit 1
  HTTPS_INSECURE=$_cw_insecure
  ACME_HTTP_NO_REDIRECTS=$_cw_no_redirects
  HTTP_HEADER=$_cw_run/headers
  : >"$HTTP_HEADER"
}

# NUMBER ACTION NAME VALUE
_cw_call() {
  _cw_fresh
  _cw_mark begin "$1"
  if [ "$_cw_isolate" ]; then
    ("${_cw_script}_$2" "$3" "$4")
  else
    "${_cw_script}_$2" "$3" "$4"
  fi
  _cw_mark end "$1" "$?"
}

umask 077
HTTP_HEADER=$_cw_run/headers
_cw_path=$PATH
_cw_insecure=$HTTPS_INSECURE
_cw_no_redirects=$ACME_HTTP_NO_REDIRECTS
