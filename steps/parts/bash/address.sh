address_pattern='^([Hh][Tt][Tt][Pp][Ss]?)://([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:([0-9]{1,5}))?(/[^"\?{}#@]*)?$'

is_address() { # text; sets scheme, host and port
  is_printable "$1" && [[ $1 =~ $address_pattern ]] || return 1
  scheme=$(lower_case "${BASH_REMATCH[1]}")
  host=${BASH_REMATCH[2]}
  port=${BASH_REMATCH[4]}
  if [ -z "$port" ]; then
    port=80
    [ "$scheme" = http ] || port=443
  fi
  port=$((10#$port))
  [ "$port" -ge 1 ] && [ "$port" -le 65535 ]
}
