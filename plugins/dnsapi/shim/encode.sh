# Bytes as hexadecimal, base64 and URL text. A shell variable cannot hold a byte 0, so
# bytes go through pipes; printf is built into every shell that this runs in, so no
# argument of another process shows them.

# What is read as " 61 62 63": lower case, a space before each byte, no newline.
_hex_dump() (
  unset IFS
  # The words of what od prints are the bytes, however it lines them up.
  # shellcheck disable=SC2046
  set -- $(LC_ALL=C od -A n -v -t x1)
  [ $# = 0 ] || printf ' %s' "$@"
)

# HEX...: appends each byte to _cw_bytes as printf wants it.
_cw_octal() {
  for _cw_byte in "$@"; do
    _cw_bytes="$_cw_bytes\\$(($_cw_byte / 64))$(($_cw_byte / 8 % 8))$(($_cw_byte % 8))"
  done
}

# The bytes that the hexadecimal text stands for.
_h2b() (
  unset IFS
  _cw_bytes=
  # shellcheck disable=SC2046
  _cw_octal $(tr -cd '0-9A-Fa-f' | sed 's/../0x& /g')
  # shellcheck disable=SC2059
  printf "$_cw_bytes"
)

# [upper-hex]: everything but letters, digits and -._~ as %xx, in lower case unless
# upper-hex is said.
_url_encode() (
  unset IFS
  _cw_bytes=
  _cw_hex=$(_hex_dump)
  [ "$1" != upper-hex ] || _cw_hex=$(printf '%s' "$_cw_hex" | _upper_case)
  for _cw_pair in $_cw_hex; do
    case $_cw_pair in
    2[dDeE] | 3[0-9] | 4[1-9a-fA-F] | 5[0-9aAfF] | 6[1-9a-fA-F] | 7[0-9aAeE]) _cw_octal "0x$_cw_pair" ;;
    *) _cw_bytes="$_cw_bytes%%$_cw_pair" ;;
    esac
  done
  # shellcheck disable=SC2059
  printf "$_cw_bytes"
)

_cw_openssl() { "${ACME_OPENSSL_BIN:-openssl}" "$@"; }

# [multiline]: in lines of 64 characters if anything is said, else in one without a
# newline.
_base64() {
  if [ "$1" ]; then
    _cw_openssl base64 -e
  else
    _cw_openssl base64 -e | tr -d '\r\n'
  fi
}

# [multiline]: the opposite.
_dbase64() {
  if [ "$1" ]; then
    _cw_openssl base64 -d
  else
    _cw_openssl base64 -d -A
  fi
}
