#!/usr/bin/env sh
# shellcheck disable=SC2034
dns_bindzone_info='A zone of BIND, by nsupdate
Site: www.isc.org
Options:
 BINDZONE_SERVER Name server. Default: "localhost".
 BINDZONE_PORT Its port. Default: "53".
 BINDZONE_KEY Path of the file with the TSIG key. Optional.
OptionsAlt:
 BINDZONE_OPT Options of nsupdate,
  as they are.
Author: the tests
'

# Like many of its kind it removes whatever there is of a name, unless BINDZONE_ONLY is set.
dns_bindzone_add() {
  fulldomain=$1
  txtvalue=$2
  _bindzone_settings || return 1
  _info "Adding the record" "$fulldomain"
  _bindzone_send "update add ${fulldomain}. 60 in txt \"${txtvalue}\""
}

dns_bindzone_rm() {
  fulldomain=$1
  _bindzone_settings || return 1
  _info "Removing the records" "$fulldomain"
  _bindzone_send "update delete ${fulldomain}. txt ${BINDZONE_ONLY:+\"$2\"}"
}

_bindzone_settings() {
  BINDZONE_SERVER="${BINDZONE_SERVER:-$(_readaccountconf_mutable BINDZONE_SERVER)}"
  BINDZONE_PORT="${BINDZONE_PORT:-$(_readaccountconf_mutable BINDZONE_PORT)}"
  BINDZONE_KEY="${BINDZONE_KEY:-$(_readaccountconf_mutable BINDZONE_KEY)}"
  if [ -z "$BINDZONE_KEY" ]; then
    _err "You did not set BINDZONE_KEY."
    return 1
  fi
  _saveaccountconf_mutable BINDZONE_SERVER "$BINDZONE_SERVER"
  _saveaccountconf_mutable BINDZONE_PORT "$BINDZONE_PORT"
  _saveaccountconf_mutable BINDZONE_KEY "$BINDZONE_KEY"
}

_bindzone_send() {
  # shellcheck disable=SC2086
  nsupdate -k "$BINDZONE_KEY" $BINDZONE_OPT <<EOF
server ${BINDZONE_SERVER:-localhost} ${BINDZONE_PORT:-53}
$1
send
EOF
  if [ $? -ne 0 ]; then
    _err "nsupdate failed"
    return 1
  fi
}
