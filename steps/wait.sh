#!/bin/bash
# wait.sh: wait until this run may have all its machines to itself (steps/README.md).
# wait.py and wait.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/bash.

# Whatever was set before: a trace would show the token, and the rest changes what commands and patterns mean.
{ set +x; } 2>/dev/null
set +eu
set +o pipefail +o posix
shopt -u nocasematch xpg_echo
IFS=$' \t\n'
export LC_ALL=C
# Octopus's functions echo unquoted: a star or a bracket in a message is no file name.
set -f

# A clock that nobody sets, where the system has one; else Bash's, whose first second may be a short one.
clock_file=/proc/uptime
started_ms=0

read_clock() { # sets now_ms: milliseconds since the start
  local uptime
  if [ -r "$clock_file" ]; then
    read -r uptime _ <"$clock_file"
    now_ms=$((10#${uptime/./} * 10 - started_ms))
  else
    now_ms=$((SECONDS * 1000 - started_ms))
  fi
}

start_clock() {
  started_ms=0
  read_clock
  started_ms=$now_ms
  [ -r "$clock_file" ] || started_ms=$((started_ms + 999))
}

start_clock

lasting() { # seconds; fewer of them in tests
  local seconds=$(($1 / ${OCTOWAIT_TIME_DIVISOR:-1}))
  printf '%s' "$((seconds < 1 ? 1 : seconds))"
}

verb='wait'
parked=false
duration_pattern='^(.*) for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$'

# What others wrote is printed without what moves the cursor or turns a line around, and so that no part of it
# is a command to Octopus: that begins with two hashes, wherever they stand and also at the end of the line before.
longest_line=2000
c1_controls=$'\302[\200-\237]'                  # U+0080 to U+009F in UTF-8
letter_mark=$'\330\234'                         # U+061C
direction_marks=$'\342\200[\216\217\250-\256]' # U+200E, U+200F, U+2028 to U+202E
isolates=$'\342\201[\246-\251]'                 # U+2066 to U+2069
continuation=$'[\200-\277]'                     # what goes on with a character of UTF-8

shortened() { # text: the characters that a line may have
  local i characters=0
  for ((i = 0; i < ${#1}; i++)); do
    # shellcheck disable=SC2254 # a pattern
    case ${1:i:1} in
      $continuation) continue ;;
    esac
    if [ "$characters" -eq "$longest_line" ]; then
      printf '%s ...' "${1:0:i}"
      return
    fi
    characters=$((characters + 1))
  done
  printf '%s' "$1"
}

is_plain() { # text: as nearly all is, and then printing it needs no other process
  [ "${#1}" -le "$longest_line" ] || return 1
  case ${1// /} in
    *[!!-~]* | *'##'* | *'#') return 1 ;;
  esac
}

printable() { # text
  local text=$1
  if is_plain "$text"; then
    printf '%s' "$text"
    return
  fi
  text=$(
    printf '%s' "$text" | tr '\000-\037\177' ' ' \
      | sed -e "s/$c1_controls/ /g" -e "s/$letter_mark/ /g" -e "s/$direction_marks/ /g" -e "s/$isolates/ /g"
  )
  [ "${#text}" -le "$longest_line" ] || text=$(shortened "$text")
  printf '%s' "$text" | sed -e 's/##/# #/g' -e 's/##/# #/g' -e 's/#$/# /'
}

print_with() { # one of Octopus's functions, text
  local IFS='' text # they echo unquoted, and a blank at the end has to stay
  text=$(printable "$2")
  if declare -F "$1" >/dev/null; then
    "$1" "$text"
  else
    printf '%s\n' "$text"
  fi
}

print_plain() {
  printf '%s\n' "$(printable "$1")"
}

print_wait() {
  print_with write_wait "$1"
}

print_highlight() {
  print_with write_highlight "$1"
}

print_warning() {
  print_with write_warning "$1"
}

print_progress() { # percent, text; Octopus before 2019.7 shows none
  if declare -F update_progress >/dev/null; then
    update_progress "$1" "$(printable "$2")"
  fi
}

fail() { # text
  local text
  text=$(printable "$1")
  printf '%s\n' "$text" >&2
  fail_step "$text"
  exit 1 # whatever a script module has made of fail_step
}

# Parameters come as variables of Octopus. What is wrong with them is collected and told in one go.
id_pattern='^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$'
expression_pattern='#\{([^{}]*\})?'
one_expression='^#\{[^{}]+\}$'
problems=''

variable() {
  get_octopusvariable "$1"
}

trim() { # text; sets trimmed
  trimmed=${1#"${1%%[![:space:]]*}"}
  trimmed=${trimmed%"${trimmed##*[![:space:]]}"}
}

parameter() { # name, default, shell variable to set, pattern of what counts as not set
  local value rest expression why
  trim "$(variable "$1")"
  value=$trimmed
  # Octopus leaves an expression that it cannot resolve as it stands.
  [[ $value =~ ${4:-^$} ]] && value=''
  rest=$value
  while [[ $rest =~ $expression_pattern ]]; do
    expression=${BASH_REMATCH[0]}
    why="$1 contains '$expression', which Octopus did not resolve: expected a variable of that name in scope"
    problems+="${problems:+; }$why"
    rest=${rest#*"$expression"}
  done
  printf -v "$3" '%s' "${value:-$2}"
}

add_problem() { # name, what is said
  case $problems in
    *"$1 contains "*) return ;; # an unresolved expression says it all
  esac
  problems+="${problems:+; }$2"
}

problem() { # name, value, expected
  add_problem "$1" "$1 is '$2': expected $3"
}

lower_case() {
  printf '%s' "$1" | tr '[:upper:]' '[:lower:]'
}

is_printable() {
  case $1 in
    '' | *[!!-~]*) return 1 ;;
  esac
}

thousandths() { # 1.5 -> 1500
  local whole=${1%%.*} part=000
  case $1 in
    *.*) part=${1#*.}000 ;;
  esac
  printf '%s' $((10#0$whole * 1000 + 10#${part:0:3}))
}

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

# The id of this execution: octowait tells its calls from late ones of another by it.
claim=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')

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

states='waiting|granted|expired|left|refused|released|timed_out|nothing'
state_pattern="^($states) ([0-9]{1,18})\$"
cut_pattern="^($states)( [0-9]*)?\$"
code_pattern='"code"[[:space:]]*:[[:space:]]*"([a-z][a-z0-9_]*)"'
detail_pattern='"detail"[[:space:]]*:[[:space:]]*"(([^"\]|\\.)*)"'
claim_pattern='^[A-Za-z0-9_-]{16,64}$'
hex='[0-9A-Fa-f]'
seen='' # octowait's last word to be said again in the next call

utf8() { # code point; sets char
  local octal
  if [ "$1" -eq 0 ] || [ $(($1 >> 11)) -eq 27 ]; then
    octal=' ' # what no shell can hold, or half of a character
  elif [ "$1" -lt 128 ]; then
    printf -v octal '\\%03o' "$1"
  elif [ "$1" -lt 2048 ]; then
    printf -v octal '\\%03o' $((192 | $1 >> 6)) $((128 | $1 & 63))
  elif [ "$1" -lt 65536 ]; then
    printf -v octal '\\%03o' $((224 | $1 >> 12)) $((128 | $1 >> 6 & 63)) $((128 | $1 & 63))
  else
    printf -v octal '\\%03o' $((240 | $1 >> 18)) $((128 | $1 >> 12 & 63)) $((128 | $1 >> 6 & 63)) $((128 | $1 & 63))
  fi
  # shellcheck disable=SC2059 # the bytes that it names
  printf -v char "$octal"
}

unescaped() { # what stands between the quotes of a string in JSON
  # A character takes twelve bytes at most, and of more than a line has no more is needed.
  local rest=${1:0:longest_line*12} text='' before char
  while [ "${#text}" -le $((longest_line * 4)) ]; do
    before=${rest%%\\*}
    text+=$before
    rest=${rest:${#before}}
    case $rest in
      '') break ;;
      \\u[Dd][89ABab]$hex$hex\\u[Dd][C-Fc-f]$hex$hex*) # two halves of one character
        utf8 $((0x10000 + (0x${rest:2:4} & 1023) * 1024 + (0x${rest:8:4} & 1023)))
        rest=${rest:12}
        ;;
      \\u$hex$hex$hex$hex*)
        utf8 $((0x${rest:2:4}))
        rest=${rest:6}
        ;;
      *)
        char=${rest:1:1}
        case $char in
          [bfnrt]) char=' ' ;;
        esac
        rest=${rest:2}
        ;;
    esac
    text+=$char
  done
  printf '%s' "$text"
}

take_pairs() { # the words of the third line
  while [ $# -ge 2 ]; do
    case $1 in
      claim) ! [[ $2 =~ $claim_pattern ]] || answer_claim=$2 ;;
      seen) seen=$2 ;;
      news) news=$2 ;;
      family) family=$2 ;;
      details) details=$2 ;;
    esac
    shift 2
  done
}

take_state() { # fails when the text is none
  local line=${text%%$'\n'*} rest
  rest=${text:${#line}}
  if [ -z "$rest" ]; then
    if [[ $line =~ $cut_pattern ]]; then
      reason="the answer broke off"
      silent "$reason$through"
    fi
    return 1
  fi
  [[ $line =~ $state_pattern ]] || return 1
  state=${BASH_REMATCH[1]} number=$((10#${BASH_REMATCH[2]}))
  [ "$status" = 200 ] || is_new=True
  rest=${rest:1}
  message=${rest%%$'\n'*}
  rest=${rest:${#message}}
  case $rest in
    $'\n'*$'\n'*) # without its line end the third line may be cut
      rest=${rest:1}
      rest=${rest%%$'\n'*}
      # shellcheck disable=SC2086 # its words
      ! is_printable "${rest// /}" || take_pairs $rest
      ;;
  esac
}

take_problem() { # method; fails when the text is none of octowait's
  local code
  [[ $text =~ ^[[:space:]]*\{ && $text =~ $code_pattern ]] || return 1
  code=${BASH_REMATCH[1]}
  [[ $text =~ $detail_pattern ]] || return 1
  message="HTTP $status: $(unescaped "${BASH_REMATCH[1]}")"
  case $status:$1:$code in
    404:GET:* | 404:DELETE:*) state=unknown ;;
    404:*:unknown_run | 408:* | 429:* | 5??:*) state=busy ;;
    401:*) state=token ;;
    4??:*) state=rejected ;;
    *) return 1 ;;
  esac
  case $status in
    401 | 403) message+=" (see Octowait.Token: a release keeps the variables that it was made with)" ;;
  esac
}

foreign() { # an answer that is not octowait's
  local remedy=''
  case $status:$through in
    407:?*)
      remedy="a user and a password for it can stand in Octowait.Proxy"
      heard "HTTP $status: not an answer of octowait$through; $remedy"
      return
      ;;
    3??:*) remedy="; redirects are not followed, so Octowait.Url must be the address itself" ;;
  esac
  heard "HTTP $status: not an answer of octowait$remedy$through"
  case $status in
    502 | 503 | 504) failure=silence ;;
  esac
}

# Sets state, with message, number and what comes with them. Besides octowait's states: silence and heard (no answer
# of octowait), busy (it cannot answer now), unknown (it knows no such run), token and rejected.
ask() { # method, query, body, seconds
  state='' number=0 message='' is_new=False answer_claim='' news='' family='' details=''
  call "$@"
  if [ -z "$failure" ]; then
    case $status in
      200 | 201) take_state && return ;;
      *) take_problem "$1" && return ;;
    esac
    [ -n "$failure" ] || foreign
  fi
  state=$failure message=$reason
}

pause_base=${OCTOWAIT_RETRY_BASE_SECONDS:-1}
longest_retry_after=$(lasting 30)
failures=0

draw_pause() { # most seconds; sets pause_ms
  # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
  local factor=$((1 << (failures < 5 ? failures : 5)))
  pause_ms=$(($(thousandths "$pause_base") * (factor < $1 ? factor : $1)))
  pause_ms=$((pause_ms * (1000 + RANDOM % 1001) / 2000))
}

sleep_ms() {
  [ "$1" -gt 0 ] || return
  # Not every sleep knows fractions.
  sleep "$(($1 / 1000)).$(printf '%03d' $(($1 % 1000)))" 2>/dev/null || sleep "$(($1 / 1000 + 1))"
}

pause() { # seconds that the server asks for, seconds since the start to stop at
  local wished=$1 left
  read_clock
  left=$(($2 * 1000 - now_ms))
  [ "$wished" -le "$longest_retry_after" ] || wished=$longest_retry_after
  draw_pause 30
  [ "$pause_ms" -ge $((wished * 1000)) ] || pause_ms=$((wished * 1000))
  [ "$pause_ms" -le "$left" ] || pause_ms=$left
  sleep_ms "$pause_ms"
}

# Blocking calls get shorter when something on the way breaks them off, and longer when ten were whole.
blocks=(50 25 12 6)
block_index=0
whole_polls=0
said_shorter=False

poll_was_whole() {
  whole_polls=$((whole_polls + 1))
  if [ "$whole_polls" -ge 10 ] && [ "$block_index" -gt 0 ]; then
    block_index=$((block_index - 1)) whole_polls=0
  fi
}

poll_broke_off() { # reason
  whole_polls=0
  [ "$block_index" -ge 3 ] || block_index=$((block_index + 1))
  if [ "$said_shorter" = False ]; then
    said_shorter=True
    print_wait "A blocking call broke off ($1): asking in shorter ones from now on."
  fi
}

# Tries of a connection that is refused, before the pauses between them grow: a server that restarts is back in seconds,
# and to refuse one costs nobody anything.
quick_tries=12
refusals=0

# A poll that nobody heard is asked again as it was: the place is what it was. After longer it may be lost: join.
is_asked_again() {
  [ "$is_refused" = True ] && [ "$refusals" -lt "$quick_tries" ]
}

# Of which nothing is said: behind a balancer that has lost a backend each other poll is refused.
is_first_refusal() {
  [ "$is_refused" = True ] && [ "$refusals" -eq 0 ]
}

count_failure() {
  if is_asked_again; then
    refusals=$((refusals + 1))
  else
    failures=$((failures + 1))
  fi
}

# Something on the way that answers at once must not make a hot loop.
spread_calls() { # milliseconds since the start of the last call
  read_clock
  if [ $((now_ms - $1)) -lt 1000 ]; then
    sleep_ms 1000
  fi
}

choose_block() { # seconds since the start to stop at; sets block
  local left
  read_clock
  left=$((($1 * 1000 - now_ms + 999) / 1000))
  block=${blocks[block_index]}
  [ "$block" -le "$left" ] || block=$left
  [ "$block" -ge 1 ] || block=1
}

# Who answers: octowait, something else, or nobody.
silence_seconds=$(lasting 120) # after which "proceed" goes on
token_seconds=$(lasting 60)    # that a token may be refused after it was accepted
has_answered=False
was_heard=False
token_refused_ms=''
last_message='octowait has not answered.'
last_heard=''

# Looks at who answered. A token that was good before may be refused for a while, as of a server that restarts.
note_contact() {
  case $state in
    silence) return ;;
    heard)
      was_heard=True last_heard="octowait did not answer ($message)."
      return
      ;;
    token)
      read_clock
      [ -n "$token_refused_ms" ] || token_refused_ms=$now_ms
      if [ "$has_answered" = False ] || [ $((now_ms - token_refused_ms)) -ge $((token_seconds * 1000)) ]; then
        state=rejected
      else
        state=busy
      fi
      ;;
    *) token_refused_ms='' ;;
  esac
  has_answered=True
}

# When a step gives up that octowait has not answered. Sets until, in seconds since the start.
choose_first_contact_end() {
  until=$first_contact_seconds
  if [ "$when_unreachable" = proceed ] && [ "$was_heard" = False ]; then
    until=$silence_seconds
  fi
  [ "$until" -le "$timeout_seconds" ] || until=$timeout_seconds
}

never_answered() {
  local seconds=$((now_ms / 1000)) silence why
  ask DELETE "?reason=unreachable%20for%20the%20$verb%20step" "" 5
  silence="octowait at $url has not answered for $seconds s"
  if [ "$when_unreachable" = fail ]; then
    fail "$silence. $last_message"
  fi
  if [ "$was_heard" = True ]; then
    fail "$silence, but something else did: not going on without waiting. $last_heard"
  fi
  why="as Octowait.WhenUnreachable says"
  print_warning "$silence: going on WITHOUT waiting, $why. $last_message"
  finish "unreachable" 0
}

server_is_new=False # it has told us our own claim
said_details=False
told_family=''
link_pattern='^https?://[A-Za-z0-9._~:/?&=%+@-]{1,2000}$'

note_answer() {
  if [ "$answer_claim" = "$claim" ] && [ "$server_is_new" = False ]; then
    server_is_new=True
    set_octopusvariable "Octowait.Claim" "$claim"
  fi
  if [ -n "$family" ] && [ "$family" != "$told_family" ]; then
    told_family=$family
    set_octopusvariable "Octowait.Family" "$family" -sensitive
  fi
  if [ "$said_details" = False ] && [[ $details =~ $link_pattern ]]; then
    said_details=True
    print_plain "Details: $details"
  fi
}

first_contact_seconds=$(lasting 300)
say_again_seconds=$(lasting 60)
shown_key='' shown_ms=0

finish() { # state, number
  local jobs
  read_clock
  # Each starts several processes: side by side they take half the time.
  set_octopusvariable "Octowait.State" "$1" &
  jobs=$!
  set_octopusvariable "Octowait.FencingToken" "$2" &
  jobs+=" $!"
  set_octopusvariable "Octowait.WaitedSeconds" "$((now_ms / 1000))" &
  jobs+=" $!"
  # shellcheck disable=SC2086 # several
  wait $jobs # and not for what a script module has left running
  exit 0
}

show() { # key, text; sets is_news
  local percent
  read_clock
  is_news=True
  [ "$1" != "$shown_key" ] || is_news=False
  if [ "$is_news" = False ] && [ $((now_ms - shown_ms)) -lt $((say_again_seconds * 1000)) ]; then
    return
  fi
  shown_key=$1 shown_ms=$now_ms
  percent=$((shown_ms / 10 / timeout_seconds))
  print_wait "$2"
  print_progress "$((percent < 99 ? percent : 99))" "$2"
}

# What changes with every look is no news by itself: the length of a wait, and what is expected. Sets key.
choose_key() {
  key=${message%% Expected *}
  [[ $key =~ $duration_pattern ]] && key=${BASH_REMATCH[1]}
  key=${news:-$number $key}
}

choose_end() { # sets until
  until=$timeout_seconds
  [ "$has_answered" = True ] || choose_first_contact_end
}

give_up() {
  [ "$has_answered" = True ] || never_answered
  ask DELETE "?reason=time-out%20of%20the%20wait%20step" "" 5
  fail "Gave up after $timeout_minutes min (Octowait.TimeoutMinutes). $last_message"
}

# 1. Check the parameters.
has_curl || fail "$no_curl"
task=$(variable "Octopus.Task.Id")
parameter "Octowait.Url" "" url
while [ "$url" != "${url%/}" ]; do url=${url%/}; done
parameter "Octowait.Token" "" token
own_machines='^([,;[:space:]]*|#\{Octopus\.Deployment\.Machines\})$'
parameter "Octowait.Machines" "$(variable "Octopus.Deployment.Machines")" machine_list "$own_machines"
parameter "Octowait.Proxy" "" proxy_setting "$one_expression"

machines=()
IFS=$',;\n'
for machine in $machine_list; do
  trim "$machine"
  [ -z "$trimmed" ] || machines+=("$trimmed")
done
IFS=$' \t\n'

[[ $task =~ $id_pattern ]] \
  || problem "Octopus.Task.Id" "$task" "an id such as ServerTasks-4711"
case $url in
  *@*)
    why="Octowait.Url has a user or a password in it: expected an address such as https://octowait.example.com"
    add_problem "Octowait.Url" "$why"
    ;;
  *) is_address "$url" || problem "Octowait.Url" "$url" "an address such as https://octowait.example.com" ;;
esac
is_printable "$token" \
  || problem "Octowait.Token" "${token:+***}" "a token of the role step"
case $(lower_case "$proxy_setting") in
  '' | none) ;;
  *)
    (is_proxy "$proxy_setting") \
      || problem "Octowait.Proxy" "***" "nothing, none, or an address with a port such as http://proxy.example.com:3128"
    ;;
esac
choose_route

parameter "Octowait.RedisUrl" "" redis_url "$one_expression"

parameter "Octowait.TimeoutMinutes" "120" timeout_minutes "$one_expression"
parameter "Octowait.Priority" "0" priority "$one_expression"
parameter "Octowait.OnBehalfOf" "" on_behalf_of "$one_expression"
parameter "Octowait.WhenUnreachable" "fail" wish "$one_expression"
when_unreachable=$(lower_case "$wish")

timeout_seconds=0
if [[ $timeout_minutes =~ ^[0-9]{1,5}(\.[0-9]{1,3})?$ ]]; then
  timeout_seconds=$(($(thousandths "$timeout_minutes") * 60 / 1000))
fi

[ "$timeout_seconds" -ge 1 ] && [ "$timeout_seconds" -le 604800 ] \
  || problem "Octowait.TimeoutMinutes" "$timeout_minutes" "minutes above 0, at most 10080"
[[ $priority =~ ^-?([0-9]{1,7})$ ]] && [ "$((10#${BASH_REMATCH[1]}))" -le 1000000 ] \
  || problem "Octowait.Priority" "$priority" "a whole number from -1000000 to 1000000"
[[ -z $on_behalf_of || $on_behalf_of =~ $id_pattern ]] \
  || problem "Octowait.OnBehalfOf" "$on_behalf_of" "nothing, or an id such as ServerTasks-4711"
[[ $when_unreachable == fail || $when_unreachable == proceed ]] \
  || problem "Octowait.WhenUnreachable" "$wish" "fail or proceed"
for machine in "${machines[@]}"; do
  [[ $machine =~ $id_pattern ]] \
    || problem "Octowait.Machines" "$machine" "ids such as Machines-7, separated by commas"
done
if [ -n "$problems" ]; then
  fail "$problems."
fi

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
# The deployment target whose mutex this script holds, if it does.
target=$(variable "Octopus.Machine.Id")
trim "$(variable "OctopusBypassDeploymentMutex")"
bypass=$trimmed
if [ "$(lower_case "$bypass")" = true ]; then
  target='' bypass=''
fi
if [ -n "$target" ] && [ -n "$(variable "Octopus.WorkerPool.Id")" ]; then
  fail "This step runs on a worker on behalf of the deployment target $target, once for each target: \
let it run once, on a worker or on the Octopus Server."
fi
if [ -z "$target" ] && [ -n "$bypass" ]; then
  fail "OctopusBypassDeploymentMutex is '$bypass': this step would keep its worker to itself while it waits, \
and the release step of the run that it waits for could not run there: remove the variable or set it to True."
fi

if [ -n "$target" ]; then
  fail "This step runs on the deployment target $target and would block the very deployment \
it waits for: run it on a worker or on the Octopus Server, \
or set OctopusBypassDeploymentMutex to True."
fi

# 3. No machines: nothing to wait for.
if [ "${#machines[@]}" -eq 0 ]; then
  print_highlight "This deployment has no machines: nothing to wait for."
  finish "no_machines" 0
fi

if [ -n "$redis_url" ]; then
  error='not supported in Bash'
  print_warning "Octowait.RedisUrl is not usable here ($error): blocking over HTTP."
fi

# 4. Say who we are.
escaped() { # as JSON wants it between quotes
  local text='' char i
  for ((i = 0; i < ${#1}; i++)); do
    char=${1:i:1}
    case $char in
      '"' | \\) text+="\\$char" ;;
      [[:cntrl:]])
        printf -v char '\\u%04x' "'$char"
        text+=$char
        ;;
      *) text+=$char ;;
    esac
  done
  printf '%s' "$text"
}

json_string() { # null when there is nothing to say
  if [ -z "$1" ]; then
    printf 'null'
  else
    printf '"%s"' "$(escaped "$1")"
  fi
}

named() { # kind, name variable, label
  local id name
  id=$(variable "$1.Id")
  name=$(variable "$2")
  if [ -z "$id$name" ]; then
    printf 'null'
    return
  fi
  printf '{"id": %s, "%s": %s}' "$(json_string "$id")" "$3" "$(json_string "$name")"
}

server=$(variable "Octopus.Web.ServerUri")
[ -n "$server" ] || server=$(variable "Octopus.Web.BaseUrl")
link=$(variable "Octopus.Web.DeploymentLink")
[ -n "$link" ] || link=$(variable "Octopus.Web.RunbookRunLink")
address=''
if [[ $server =~ ^https?:// ]] && [ -n "$link" ]; then
  address=${server%/}$link
fi
list=''
for machine in "${machines[@]}"; do
  list+="${list:+, }\"$machine\""
done
sign=${priority%%[0-9]*}
body="{\"space_id\": $(json_string "$(variable "Octopus.Space.Id")"),
 \"machines\": [$list],
 \"deployment_id\": $(json_string "$(variable "Octopus.Deployment.Id")"),
 \"runbook_run_id\": $(json_string "$(variable "Octopus.RunbookRun.Id")"),
 \"project\": $(named "Octopus.Project" "Octopus.Project.Name" "name"),
 \"environment\": $(named "Octopus.Environment" "Octopus.Environment.Name" "name"),
 \"release\": $(named "Octopus.Release" "Octopus.Release.Number" "version"),
 \"tenant\": $(named "Octopus.Deployment.Tenant" "Octopus.Deployment.Tenant.Name" "name"),
 \"url\": $(json_string "$address"),
 \"priority\": $sign$((10#${priority#-})),
 \"timeout_seconds\": $timeout_seconds,
 \"on_behalf_of\": $(json_string "$on_behalf_of"),
 \"parked\": $parked}"
body=${body//$'\n'/}

# 5. Join the line and block until granted. A grant counts when a call made after it was read confirms it.
start_clock # what came before takes seconds on a worker that has much to do
next='join' # join, poll or confirm
has_asked=False
had_place=False
is_news=True
confirmations=0

while :; do
  choose_end
  read_clock
  if [ "$has_asked" = True ] && [ "$next" != confirm ] && [ "$now_ms" -ge $((until * 1000)) ]; then
    give_up
  fi
  if [ "$next" = poll ] && [ "$is_news" = False ]; then
    spread_calls "$asked_ms"
    read_clock
  fi

  asked_ms=$now_ms has_asked=True call_was=$next
  case $next in
    join) ask PUT "" "$body" 20 ;;
    poll)
      choose_block "$timeout_seconds"
      ask GET "?block_seconds=$block" "" $((block + 20))
      ;;
    confirm) ask GET "?block_seconds=0" "" 20 ;;
  esac
  note_contact
  note_answer

  case $state in
    waiting)
      if [ "$had_place" = True ] && [ "$is_new" = True ]; then
        print_wait "The place in the line was lost: joined again at the end."
      fi
      if [ "$call_was" = poll ]; then
        failures=0 refusals=0
        poll_was_whole
      fi
      had_place=True next='poll'
      last_message=$message
      choose_key
      show "$key" "$message"
      ;;
    granted)
      if [ "$server_is_new" = False ] || [ "$call_was" = confirm ]; then
        print_highlight "$message"
        finish "granted" "$number"
      fi
      next='confirm' confirmations=0
      ;;
    expired | unknown)
      print_wait "$message Asking for a place again."
      next='join'
      pause 0 "$timeout_seconds"
      failures=$((failures + 1))
      ;;
    silence | heard | busy)
      confirmations=$((confirmations + 1))
      if [ "$call_was$confirmations" = confirm1 ] && [ "$state" != busy ]; then
        continue
      fi
      next='join'
      if [ "$call_was" = poll ] && is_asked_again; then
        next='poll'
      fi
      if [ "$call_was" = poll ] && [ "$is_refused" = False ] && [ "$state" != busy ]; then
        poll_broke_off "$message"
      else
        last_message="octowait did not answer ($message)."
        if [ "$call_was" != poll ] || ! is_first_refusal; then
          show "interrupted" "$last_message Asking again until the time-out."
        fi
      fi
      choose_end
      pause "$retry_after" "$until"
      is_news=True # no other pause
      count_failure
      ;;
    timed_out)
      give_up
      ;;
    *)
      fail "octowait does not let this run wait: $message"
      ;;
  esac
done
