#!/usr/bin/env sh
# shellcheck disable=SC2034
dns_pdnsrest_info='PowerDNS, by its API
Options:
 PDNSREST_URL Of the API. E.g. "http://ns.example.com:8081"
 PDNSREST_KEY API key
'

# Keeps the other values of a name. Asks for the zones once in a shell.
dns_pdnsrest_add() {
  _pdnsrest_settings || return 1
  _pdnsrest_zone "$1" || return 1
  _pdnsrest_values "$1" "$2" || return 1
  _pdnsrest_replace "$1" "$_values
$2"
}

dns_pdnsrest_rm() {
  _pdnsrest_settings || return 1
  _pdnsrest_zone "$1" || return 1
  _pdnsrest_values "$1" "$2" || return 1
  if [ -z "$_found" ]; then
    _err "The TXT record was not found"
    return 1
  fi
  _pdnsrest_replace "$1" "$_values"
}

_pdnsrest_settings() {
  PDNSREST_URL="${PDNSREST_URL:-$(_readaccountconf_mutable PDNSREST_URL)}"
  PDNSREST_KEY="${PDNSREST_KEY:-$(_readaccountconf_mutable PDNSREST_KEY)}"
  if [ -z "$PDNSREST_URL" ] || [ -z "$PDNSREST_KEY" ]; then
    _err "Set PDNSREST_URL and PDNSREST_KEY."
    return 1
  fi
  _saveaccountconf_mutable PDNSREST_URL "$PDNSREST_URL"
  _saveaccountconf_mutable PDNSREST_KEY "$PDNSREST_KEY" base64
  export _H1="X-API-Key: $PDNSREST_KEY"
}

_pdnsrest_zone() {
  if [ -z "$_pdnsrest_zones" ]; then
    _pdnsrest_zones=$(_get "$PDNSREST_URL/api/v1/servers/localhost/zones" | _normalizeJson)
    if ! grep '^HTTP/.* 200' "$HTTP_HEADER" >/dev/null; then
      _err "The API says no:" "$(_head_n 1 <"$HTTP_HEADER")"
      return 1
    fi
    _info "asked for the zones"
  fi
  _label=1
  while _zone=$(printf '%s' "$1" | cut -d . -f "$_label-") && [ "$_zone" ]; do
    _debug2 "is there" "$_zone"
    if _contains "$_pdnsrest_zones" "\"name\":\"$_zone\\.\""; then
      return 0
    fi
    _label=$(_math "$_label" + 1)
  done
  _err "There is no zone for $1"
  return 1
}

# NAME VALUE: the values other than that one, and whether that one is there.
_pdnsrest_values() {
  _answer=$(_get "$PDNSREST_URL/api/v1/servers/localhost/zones/$_zone." "" 20) || return 1
  _all=$(printf '%s' "$_answer" | _normalizeJson | tr '{}' '\n\n' | _egrep_o '"content":"\\"[^"\\]*\\"' | cut -d '"' -f 5 | tr -d '\\')
  _records=$(printf '%s' "$_answer" | _normalizeJson | sed 's/"comments"/\n/g' | grep "\"name\":\"$1\\.\".*\"type\":\"TXT\"" |
    _egrep_o '"content":"\\"[^"\\]*' | sed 's/.*"//')
  _debug2 "in the whole zone" "$_all"
  _found=$(printf '%s\n' "$_records" | grep -x -- "$2")
  _values=$(printf '%s\n' "$_records" | grep -v -x -- "$2")
  return 0
}

# NAME VALUES
_pdnsrest_replace() {
  _list=
  for _value in $2; do
    _list="$_list${_list:+,}{\"content\":\"\\\"$_value\\\"\",\"disabled\":false}"
  done
  _said=$(_post "{\"rrsets\":[{\"name\":\"$1.\",\"type\":\"TXT\",\"ttl\":60,\"changetype\":\"REPLACE\",\"records\":[$_list]}]}" \
    "$PDNSREST_URL/api/v1/servers/localhost/zones/$_zone." "" PATCH "application/json")
  if ! _contains "$(_head_n 1 <"$HTTP_HEADER")" ' 204'; then
    _err "The change failed" "$_said"
    return 1
  fi
}
