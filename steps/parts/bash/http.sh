no_curl="curl is not on this worker: the Bash steps need it, the Python and PowerShell steps do not."
most_bytes=200000 # of head and body together, before curl is stopped
most_text=65536   # bytes of a body; octowait's own answers to steps are below half of it
status_pattern='^HTTP/[0-9.]+ ([0-9]{3})'
known_pattern='=== ([0-9]+) ([0-9]+) ([0-9]+)'
retry_pattern=$'\n''[Rr][Ee][Tt][Rr][Yy]-[Aa][Ff][Tt][Ee][Rr]:[[:blank:]]*([0-9]+)'

has_curl() {
  curl -q --version >/dev/null 2>&1
}

curl_setting() { # name, value
  local quoted=${2//\\/\\\\}
  quoted=${quoted//\"/\\\"}
  printf '%s = "%s"\n' "$1" "$quoted"
}

curl_settings() { # body
  curl_setting header "Authorization: Bearer $token"
  [ -z "$claim" ] || curl_setting header "X-Octowait-Claim: $claim"
  [ -z "$seen" ] || curl_setting header "X-Octowait-Seen: $seen"
  [ -z "$proxy" ] || curl_setting proxy "$proxy"
  [ -z "${SSL_CERT_FILE:-}" ] || curl_setting cacert "$SSL_CERT_FILE" # by itself curl prefers CURL_CA_BUNDLE
  [ -z "$1" ] || curl_setting data-binary @/dev/fd/3
}

# What curl prints: heads, body, its error, a line with what it knows of the answer, and its exit status.
start_curl() { # method, query, body (which it reads from 3), seconds
  curl_settings "$3" | curl -q --config - --silent --show-error --stderr - --globoff --include \
    --request "$1" --max-time "$4" --connect-timeout "$(($4 < 10 ? $4 : 10))" --noproxy "$exceptions" \
    --user-agent "octowait-$verb/2 (bash)" --header 'X-Octowait-Version: 2' --header 'Accept: text/plain' \
    --header 'Content-Type: application/json; charset=utf-8' --header 'Expect:' \
    --write-out '\n=== %{http_code} %{http_connect} %{size_header}\n' \
    "$url/api/waits/$task$2" | head -c "$most_bytes" | tr '\000' ' '
  printf '\n%s' "${PIPESTATUS[1]}"
}

# Secrets go through pipes: the process list shows arguments to everybody.
run_curl() { # method, query, body, seconds
  if [ -n "$3" ]; then
    printf '%s' "$3" | start_curl "$@" 3<&0
  else
    start_curl "$@"
  fi 2>/dev/null
}

silent() { # why nobody answered
  failure=silence reason=$1
}

heard() { # why what answered is not octowait
  failure=heard reason=$1
}

no_connection() { # curl's words
  local where=$host:$port
  [ -z "$proxy" ] || where="the proxy $proxy_name"
  silent "no connection to $where ($1)"
}

# Why there is no answer, and what to do about it.
explain() { # exit status of curl, its words, seconds
  local remedy
  case $1:$2 in
    5:*) silent "the name of the proxy $proxy_name does not resolve ($2)" ;;
    6:* | 28:Resolving*)
      remedy="check Octowait.Url and the name servers of this worker"
      silent "the name $host does not resolve ($2): $remedy"
      ;;
    7:* | 97:* | 28:Connection* | 28:Failed\ to\ connect*) no_connection "$2" ;;
    28:SSL*) silent "no TLS connection with $host ($2)$through" ;;
    28:*) silent "no whole answer within $3 s$through" ;;
    # Whoever hangs up while TLS begins has not said anything, either.
    16:* | 18:* | 52:* | 55:* | 56:* | 92:* | 95:* | 35:*reset* | 35:*SYSCALL* | 35:*eof*)
      silent "the answer broke off$through"
      ;;
    51:* | 60:*)
      remedy="if an authority of your own signed it, put the authority into this worker's store or SSL_CERT_FILE"
      heard "the certificate of $host is not accepted: $2; $remedy$through"
      ;;
    35:* | 53:* | 54:* | 58:* | 59:* | 66:* | 77:* | 80:* | 82:* | 83:* | 91:*)
      heard "no TLS connection with $host ($2)$through"
      ;;
    *) heard "no HTTP answer ($2)$through" ;;
  esac
}

# One call, with one deadline for names, connecting, head and body. Sets status, text and retry_after of an answer,
# or failure (silence: nobody answered; heard: somebody else did) and reason.
call() { # method, query, body, seconds
  local output code known proxy_status size error last_head
  status=''
  retry_after=0
  failure=''
  is_refused=False
  if [ -n "$no_route" ]; then
    heard "$no_route"
    return
  fi
  output=$(run_curl "$@")
  code=${output##*$'\n'}
  output=${output%$'\n'*}
  if [ "${#output}" -ge "$most_bytes" ]; then
    [[ $output =~ $status_pattern ]]
    status=${BASH_REMATCH[1]} text=''
    return
  fi
  text=${output%$'\n=== '*}
  known=${output:${#text}}
  if [[ $known =~ $known_pattern ]]; then
    status=${BASH_REMATCH[1]}
    proxy_status=${BASH_REMATCH[2]}
    size=${BASH_REMATCH[3]}
  fi
  if [ "$code" -ne 0 ]; then
    error=${output%"curl: ($code) "*}
    error=${output:${#error}}
    error=${error#"curl: ($code) "}
    error=${error%%$'\n'*}
    [ "$code" -ne 7 ] || is_refused=True
    explain "$code" "${error:-curl: $code}" "$4"
    case $code:$proxy_status in
      56:[345]??) status=$proxy_status text='' failure='' ;; # the proxy's answer to CONNECT
    esac
    return
  fi
  # The head of the answer itself comes after those of a proxy and of early hints.
  last_head=${text:0:size}
  last_head=${last_head##*$'\n'HTTP/}
  if [[ $last_head =~ $retry_pattern ]]; then
    retry_after=$((10#${BASH_REMATCH[1]:0:9}))
  fi
  text=${text:size}
  [ "${#text}" -le "$most_text" ] || text=''
}
