#!/usr/bin/env sh
# shellcheck disable=SC2034
dns_knotzone_info='A zone of Knot, by knsupdate
Options:
 KNOTZONE_SERVER Name server and port
 KNOTZONE_KEY TSIG key as algorithm:name:secret
'

# Keeps its settings as they are, not for change, and what it added for the domain.
dns_knotzone_add() {
  _knotzone_settings || return 1
  _saveaccountconf KNOTZONE_SERVER "$KNOTZONE_SERVER"
  _saveaccountconf KNOTZONE_KEY "$KNOTZONE_KEY"
  _savedomainconf "$(_knotzone_id "$1" "$2")" "$2"
  _knotzone_send "add $1. 60 TXT \"$2\""
}

dns_knotzone_rm() {
  _knotzone_settings || return 1
  _value=$(_readdomainconf "$(_knotzone_id "$1" "$2")")
  if [ "$_value" != "$2" ]; then
    _err "could not find the record that was added for $1"
    return 1
  fi
  _knotzone_send "del $1. TXT \"$_value\"" && _cleardomainconf "$(_knotzone_id "$1" "$2")"
}

_knotzone_id() {
  printf 'KNOTZONE_%s' "$(printf '%s %s' "$1" "$2" | _digest sha256 hex)"
}

_knotzone_settings() {
  if [ -z "$KNOTZONE_SERVER" ] || [ -z "$KNOTZONE_KEY" ]; then
    _err "Set KNOTZONE_SERVER and KNOTZONE_KEY."
    return 1
  fi
}

# COMMAND NAME ...: the zone is the last two labels.
_knotzone_send() {
  _zone=$(printf '%s' "$1" | cut -d ' ' -f 2 | tr '.' '\n' | grep . | _tail_n 2 | tr '\n' '.')
  _secure_debug3 key "$KNOTZONE_KEY"
  knsupdate <<EOF
server $KNOTZONE_SERVER
key $KNOTZONE_KEY
zone $_zone
update $1
send
quit
EOF
}
