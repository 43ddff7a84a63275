# Digests and signatures. Keys never become arguments of openssl, where everybody on
# the machine could read them: the HMAC is put together here (RFC 2104).

_cw_algorithm() {
  case $1 in
  md5 | sha1 | sha256) _cw_block=64 ;;
  sha384 | sha512) _cw_block=128 ;;
  sha3-256) _cw_block=136 ;;
  '')
    _usage "Usage: $2"
    return 1
    ;;
  *) _err "$1 is not supported" ;;
  esac
}

# ALGORITHM [hex]: the digest of what is read, in base64, or in hexadecimal with a
# newline if anything is said.
_digest() {
  _cw_algorithm "$1" "_digest ALGORITHM [hex]" || return 1
  if [ "$2" ]; then
    _cw_openssl dgst "-$1" -binary | _hex_dump | tr -d ' '
    echo
  else
    _cw_openssl dgst "-$1" -binary | _base64
  fi
}

# ALGORITHM KEY [hex]: the HMAC of what is read under a key in hexadecimal, as bytes, or
# in hexadecimal with a newline if anything is said.
_hmac() (
  unset IFS
  if [ -z "$2" ]; then
    _usage "Usage: _hmac ALGORITHM KEY [hex]"
    return 1
  fi
  _cw_algorithm "$1" "_hmac ALGORITHM KEY [hex]" || return 1
  _cw_key=$2
  if [ "${#_cw_key}" -gt $((2 * _cw_block)) ]; then
    _cw_key=$(printf '%s' "$_cw_key" | _h2b | _cw_openssl dgst "-$1" -binary | _hex_dump | tr -d ' ')
  fi
  _cw_inner=
  _cw_outer=
  _cw_left=$_cw_block
  for _cw_pair in $(printf '%s' "$_cw_key" | sed 's/../0x& /g'); do
    _cw_bytes=$_cw_inner
    _cw_octal $(($_cw_pair ^ 0x36))
    _cw_inner=$_cw_bytes
    _cw_bytes=$_cw_outer
    _cw_octal $(($_cw_pair ^ 0x5c))
    _cw_outer=$_cw_bytes
    _cw_left=$((_cw_left - 1))
  done
  while [ "$_cw_left" -gt 0 ]; do
    _cw_inner="$_cw_inner\\066"
    _cw_outer="$_cw_outer\\134"
    _cw_left=$((_cw_left - 1))
  done
  # shellcheck disable=SC2059
  {
    printf "$_cw_outer"
    {
      printf "$_cw_inner"
      cat
    } | _cw_openssl dgst "-$1" -binary
  } | _cw_openssl dgst "-$1" -binary |
    if [ "$3" ]; then
      _hex_dump | tr -d ' '
      echo
    else
      cat
    fi
)

_isRSA() { _cw_openssl rsa -in "$1" -noout -modulus >/dev/null 2>&1; }
_isEcc() { _cw_openssl ec -in "$1" -noout -text 2>/dev/null | grep 'ASN1 OID' >/dev/null; }

# KEYFILE ALGORITHM: the signature of what is read, in base64. That of an elliptic curve
# is r and s beside each other (RFC 7518 section 3.4), by the digest that belongs to the
# curve.
_sign() {
  if [ -z "$2" ]; then
    _usage "Usage: _sign KEYFILE ALGORITHM"
    return 1
  fi
  if _isRSA "$1"; then
    _cw_openssl dgst "-$2" -sign "$1" | _base64
  elif _isEcc "$1"; then
    _cw_bits=$(_cw_openssl ec -in "$1" -noout -text 2>/dev/null | sed -n 's/.*Private-Key: (\([0-9]*\) bit.*/\1/p')
    case $_cw_bits in
    256 | 384) _cw_hash=sha$_cw_bits ;;
    521) _cw_hash=sha512 ;;
    *)
      _err "a key of $_cw_bits bits on an elliptic curve is not supported: $1"
      return 1
      ;;
    esac
    _cw_openssl dgst "-$_cw_hash" -sign "$1" | _cw_openssl asn1parse -inform DER |
      sed -n 's/.*INTEGER *:\([0-9A-F]*\).*/\1/p' |
      while read -r _cw_number; do
        while [ "${#_cw_number}" -lt $((((_cw_bits + 7) / 8) * 2)) ]; do
          _cw_number=0$_cw_number
        done
        printf '%s' "$_cw_number"
      done | _h2b | _base64
  else
    _err "neither an RSA key nor one on an elliptic curve: $1"
  fi
}
