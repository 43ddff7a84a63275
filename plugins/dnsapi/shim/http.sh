# HTTP by curl, or by GNU wget. Headers, URL and body may hold secrets and are no
# arguments of either: curl reads them from its standard input, wget from files that
# only this user can read.

# METHOD URL TIMEOUT TYPE: what both need is in these variables.
_cw_request() {
  _cw_method=$1
  _cw_url=$2
  _cw_timeout=$3
  _cw_type=$4
  if [ -z "$HTTP_HEADER" ] || ! : >>"$HTTP_HEADER"; then
    HTTP_HEADER=$_cw_run/headers
  fi
  if [ "${ACME_USE_WGET:-0}" = 0 ] && _exists curl; then
    _cw_by_curl
  elif _exists wget; then
    _cw_by_wget
  else
    _err "there is neither curl nor wget: install one of them"
  fi
}

# NAME VALUE: a line of a configuration of curl.
_cw_option() {
  printf '%s = "' "$1"
  printf '%sx' "$2" |
    sed -e ':a' -e '$!{N;ba' -e '}' -e 's/x$//' -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\n/\\n/g' -e "s/$_cw_cr/\\\\r/g" |
    tr -d '\n'
  printf '"\n'
}

_cw_curl_options() {
  printf 'silent\nshow-error\ngloboff\n'
  [ "$ACME_HTTP_NO_REDIRECTS" ] || echo location
  if [ "$ACME_USE_IPV6_REQUESTS" ]; then
    echo ipv6
  elif [ "$ACME_USE_IPV4_REQUESTS" ]; then
    echo ipv4
  fi
  if [ "$CA_PATH" ]; then
    _cw_option capath "$CA_PATH"
  elif [ "$CA_BUNDLE" ]; then
    _cw_option cacert "$CA_BUNDLE"
  fi
  [ -z "$HTTPS_INSECURE" ] || echo insecure
  [ -z "$_cw_timeout" ] || _cw_option connect-timeout "$_cw_timeout"
  _cw_option dump-header "$HTTP_HEADER"
  _cw_option user-agent "$USER_AGENT"
  [ -z "$_cw_type" ] || _cw_option header "Content-Type: $_cw_type"
  for _cw_header in "$_H1" "$_H2" "$_H3" "$_H4" "$_H5"; do
    [ -z "$_cw_header" ] || _cw_option header "$_cw_header"
  done
  case $_cw_method in
  GET) [ ! -s "$_cw_run/body" ] || _cw_option request GET ;;
  HEAD) echo head ;;
  *) _cw_option request "$_cw_method" ;;
  esac
  [ ! -s "$_cw_run/body" ] || _cw_option data-binary "@$_cw_run/body"
  _cw_option url "$_cw_url"
}

_cw_by_curl() {
  _cw_curl_options | curl -K -
  _cw_status=$?
  [ "$_cw_status" = 0 ] || _err "curl ended with status $_cw_status (see EXIT CODES in its manual)"
  return "$_cw_status"
}

_cw_wget_options() {
  printf 'quiet = on\nserver_response = on\ncontent_on_error = on\n'
  [ -z "$ACME_HTTP_NO_REDIRECTS" ] || echo 'max_redirect = 0'
  if [ "$ACME_USE_IPV6_REQUESTS" ]; then
    echo 'inet6_only = on'
  elif [ "$ACME_USE_IPV4_REQUESTS" ]; then
    echo 'inet4_only = on'
  fi
  if [ "$CA_PATH" ]; then
    printf 'ca_directory = %s\n' "$CA_PATH"
  elif [ "$CA_BUNDLE" ]; then
    printf 'ca_certificate = %s\n' "$CA_BUNDLE"
  fi
  [ -z "$HTTPS_INSECURE" ] || echo 'check_certificate = off'
  [ -z "$_cw_timeout" ] || printf 'timeout = %s\n' "$_cw_timeout"
  printf 'user_agent = %s\n' "$USER_AGENT"
  [ -z "$_cw_type" ] || printf 'header = Content-Type: %s\n' "$_cw_type"
  for _cw_header in "$_H1" "$_H2" "$_H3" "$_H4" "$_H5"; do
    [ -z "$_cw_header" ] || printf 'header = %s\n' "$_cw_header"
  done
  case $_cw_method in
  GET) [ ! -s "$_cw_run/body" ] || printf 'method = GET\nbody_file = %s\n' "$_cw_run/body" ;;
  HEAD) printf 'method = HEAD\ntries = 2\n' ;;
  POST) printf 'post_file = %s\n' "$_cw_run/body" ;;
  *) printf 'method = %s\nbody_file = %s\n' "$_cw_method" "$_cw_run/body" ;;
  esac
}

_cw_by_wget() {
  _cw_wget_options >"$_cw_run/wgetrc"
  printf '%s\n' "$_cw_url" >"$_cw_run/url"
  wget --config="$_cw_run/wgetrc" -i "$_cw_run/url" -O - 2>"$_cw_run/wget"
  _cw_status=$?
  # As curl writes them: without the indentation.
  sed 's/^  //' "$_cw_run/wget" >"$HTTP_HEADER"
  # 8: the server answered, with a status that is an error.
  [ "$_cw_status" != 8 ] || _cw_status=0
  [ "$_cw_status" = 0 ] || _err "wget ended with status $_cw_status (see EXIT STATUS in its manual)"
  return "$_cw_status"
}

# URL [ONLYHEADER] [TIMEOUT]: prints the body, or with ONLYHEADER the headers, which are
# in the file $HTTP_HEADER anyway. A status that is an error is none here.
_get() {
  _debug "GET" "$1"
  : >"$_cw_run/body"
  if [ -z "$2" ]; then
    _cw_request GET "$1" "$3" ''
    return
  fi
  _cw_request HEAD "$1" "$3" '' >/dev/null || return
  cat "$HTTP_HEADER"
}

# BODY URL [NEEDBASE64] [METHOD] [TYPE]: prints the body of the answer, and keeps it in
# the variable response, in base64 if that is asked for.
_post() {
  _debug "${4:-POST}" "$2"
  _debug2 body "$1"
  printf '%s' "$1" >"$_cw_run/body"
  _cw_request "${4:-POST}" "$2" '' "$5" >"$_cw_run/answer"
  _cw_posted=$?
  if [ "$3" ]; then
    response=$(_base64 <"$_cw_run/answer")
  else
    response=$(cat "$_cw_run/answer")
  fi
  printf '%s' "$response"
  return "$_cw_posted"
}

# Both are asked for anew with each request.
_inithttp() { :; }
_resethttp() { ACME_HTTP_NO_REDIRECTS=; }
