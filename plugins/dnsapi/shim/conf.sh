# What scripts remember: settings of the account for all certificates, and of the domain
# for one. A file is replaced as a whole, so that whoever reads it finds the old or the
# new one. Its lines are NAME='value'.

_cw_b64_start=__ACME_BASE64__START_
_cw_b64_end=__ACME_BASE64__END_

# FILE NAME VALUE [BASE64]
_save_conf() {
  _cw_keep=$3
  case $3 in
  *"'"* | *"
"*) _cw_encode=1 ;;
  *) _cw_encode=${3:+$4} ;;
  esac
  [ -z "$_cw_encode" ] || _cw_keep=$_cw_b64_start$(printf '%s' "$3" | _base64)$_cw_b64_end
  {
    [ ! -f "$1" ] || grep -v "^$2=" "$1"
    printf "%s='%s'\n" "$2" "$_cw_keep"
  } >"$1.new" && mv -f "$1.new" "$1"
}

# FILE NAME
_clear_conf() {
  [ -f "$1" ] || return 0
  grep -v "^$2=" "$1" >"$1.new"
  mv -f "$1.new" "$1"
}

# FILE NAME
_read_conf() {
  [ -f "$1" ] || return 0
  _cw_kept=$(sed -n "s/^$2='\(.*\)'\$/\1/p" "$1" | tail -n 1)
  case $_cw_kept in
  "$_cw_b64_start"*"$_cw_b64_end")
    _cw_kept=${_cw_kept#"$_cw_b64_start"}
    printf '%s' "${_cw_kept%"$_cw_b64_end"}" | _dbase64
    ;;
  *) printf '%s' "$_cw_kept" ;;
  esac
}

_savedomainconf() { _save_conf "$DOMAIN_CONF" "$@"; }
_readdomainconf() { _read_conf "$DOMAIN_CONF" "$1"; }
_cleardomainconf() { _clear_conf "$DOMAIN_CONF" "$1"; }

_saveaccountconf() { _save_conf "$ACCOUNT_CONF_PATH" "$@"; }
_readaccountconf() { _read_conf "$ACCOUNT_CONF_PATH" "$1"; }
_clearaccountconf() { _clear_conf "$ACCOUNT_CONF_PATH" "$1"; }

# Those that a setting may change later are kept under another name, so that they do not
# count as given.
_saveaccountconf_mutable() {
  _save_conf "$ACCOUNT_CONF_PATH" "SAVED_$1" "$2" "$3"
  _clearaccountconf "$1"
}

_readaccountconf_mutable() { _readaccountconf "SAVED_$1"; }

_clearaccountconf_mutable() {
  _clearaccountconf "SAVED_$1"
  _clearaccountconf "$1"
}
