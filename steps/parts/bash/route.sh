proxy_pattern='^[Hh][Tt][Tt][Pp]://([^"\/?#@[:space:]]+@)?([^@/]+:[0-9]+)/?$'

is_proxy() { # text
  [[ $1 =~ $proxy_pattern ]] && is_address "http://${BASH_REMATCH[2]}"
}

is_exempt() { # host, port: whether NO_PROXY names it, or a domain that it is in
  local entry
  for entry in $(lower_case "${no_proxy:-${NO_PROXY:-}}" | tr ',' ' '); do
    [ "$entry" != '*' ] || return 0
    case ".$1 .$1:$2 " in
      *".${entry#.} "*) return 0 ;;
    esac
  done
  return 1
}

# Sets proxy (as curl takes it, empty without one), exceptions (of it, for curl), through (for people), and no_route
# when there is none.
choose_route() {
  local name=HTTP
  proxy=$proxy_setting
  exceptions=''
  through=''
  no_route=''
  if [ -z "$proxy" ] && ! is_exempt "$(lower_case "$host" | tr -d '[]')" "$port"; then
    proxy=${http_proxy:-${HTTP_PROXY:-}}
    if [ "$scheme" = https ]; then
      name=HTTPS
      proxy=${https_proxy:-${HTTPS_PROXY:-}}
    fi
  fi
  case $(lower_case "$proxy") in
    '' | none)
      proxy='' exceptions='*'
      return
      ;;
    *://*) ;;
    *) proxy=http://$proxy ;;
  esac
  proxy=${proxy%/}
  [[ $proxy =~ :[0-9]+$ ]] || proxy=$proxy:80
  (is_proxy "$proxy") || no_route="${name}_PROXY is '***': expected http://proxy.example.com:3128"
  proxy_name=${proxy%%://*}://${proxy##*[/@]}
  through=", through the proxy $proxy_name"
}
