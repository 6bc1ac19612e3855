#!/bin/bash
# release.sh: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.py and release.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/bash.

# Octopus's functions echo unquoted: a star or a bracket in a message is no file name.
set -f

started=$SECONDS

elapsed() {
  printf '%s' $((SECONDS - started))
}

give_up_seconds=20

# Parameters come as variables of Octopus. What is wrong with them is collected and told in one go.
id_pattern='^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$'
expression_pattern='#\{([^{}]*\})?'
one_expression='^#\{[^{}]+\}$'
problems=''

variable() {
  get_octopusvariable "$1"
}

parameter() { # name, default, shell variable to set, pattern of what counts as not set
  local value rest expression why
  value=$(variable "$1")
  value=${value#"${value%%[![:space:]]*}"}
  value=${value%"${value##*[![:space:]]}"}
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

problem() { # name, value, expected
  case $problems in
    *"$1 contains "*) return ;; # an unresolved expression says it all
  esac
  problems+="${problems:+; }$1 is '$2': expected $3"
}

is_printable() {
  local LC_ALL=C
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

escaped() { # as JSON and curl's configuration want it between quotes
  local LC_ALL=C text=$1 out='' char i
  for ((i = 0; i < ${#text}; i++)); do
    char=${text:i:1}
    case $char in
      '"' | '\') out+="\\$char" ;;
      [[:cntrl:]])
        printf -v char '\\u%04x' "'$char"
        out+=$char
        ;;
      *) out+=$char ;;
    esac
  done
  printf '%s' "$out"
}

# One call. Besides octowait's states: unknown, interrupted, rejected (asking again is no use).
# Sets state, number, message, is_new and retry_after.
ask() { # method, query, body, seconds to block, seconds for the rest
  local output line text status=0 detail address=$url/api/waits/$task$2 limit=$(($4 + $5))
  local quote='"' detail_pattern='"detail"[[:space:]]*:[[:space:]]*"(([^"\\]|\\.)*)"'
  local connect=$((limit < 10 ? limit : 10))
  state=interrupted number=0 message='' is_new=False retry_after=0
  # The token and the body go through a pipe: the process list shows arguments to everybody.
  output=$(
    {
      printf 'header = "Authorization: Bearer %s"\n' "$(escaped "$token")"
      [ -z "$3" ] || printf 'data-raw = "%s"\n' "$(escaped "$3")"
    } | curl --config - --silent --show-error --include --globoff --request "$1" --max-time "$limit" \
      --connect-timeout "$connect" --header 'Accept: text/plain' --header 'Expect:' \
      --header 'Content-Type: application/json; charset=utf-8' "$address" 2>&1
  )
  if [ $? -ne 0 ]; then
    message=${output##*$'\n'}
    message=${message#curl: }
    return
  fi
  # Header blocks (a proxy may put its own before), an empty line, the body.
  text=''
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    case $line in
      HTTP/*)
        status=${line#* }
        status=${status%% *}
        while IFS= read -r line && [ -n "${line%$'\r'}" ]; do
          line=${line%$'\r'}
          if [[ $line =~ ^[Rr][Ee][Tt][Rr][Yy]-[Aa][Ff][Tt][Ee][Rr]:\ *([0-9]{1,4})$ ]]; then
            retry_after=$((10#${BASH_REMATCH[1]}))
          fi
        done
        ;;
      *) text+=$line$'\n' ;;
    esac
  done <<<"$output"
  line=${text%%$'\n'*}
  case $status in
    200 | 201)
      if [[ $line =~ ^([a-z_]+)\ ([0-9]+)$ ]]; then
        state=${BASH_REMATCH[1]}
        number=${BASH_REMATCH[2]}
        [ "$status" = 201 ] && is_new=True
        text=${text#*$'\n'}
        message=${text%%$'\n'*}
        return
      fi
      ;;
  esac
  detail='not an answer of octowait'
  if [[ $text =~ $detail_pattern ]]; then
    # %b undoes the escapes of JSON, all but that of the quote.
    printf -v detail '%b' "${BASH_REMATCH[1]//\\$quote/$quote}"
  fi
  case $status:$1 in
    200:* | 201:* | 408:* | 429:* | 5??:*) state=interrupted ;;
    404:GET) state=unknown ;;
    *) state=rejected ;;
  esac
  message="HTTP $status: $detail"
}

pause_base=${OCTOWAIT_RETRY_BASE_SECONDS:-1}
failures=0

draw_pause() { # most seconds; sets pause_ms
  # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
  local factor=$((1 << (failures < 5 ? failures : 5)))
  pause_ms=$(($(thousandths "$pause_base") * (factor < $1 ? factor : $1)))
  pause_ms=$((pause_ms / 2 + pause_ms / 2 * (RANDOM % 1001) / 1000))
}

sleep_ms() {
  sleep "$(($1 / 1000)).$(printf '%03d' $(($1 % 1000)))"
}

pause() { # seconds that the server asks for, elapsed seconds to stop at
  local left=$((($2 - $(elapsed)) * 1000))
  draw_pause 30
  [ "$pause_ms" -ge $(($1 * 1000)) ] || pause_ms=$(($1 * 1000))
  [ "$pause_ms" -le "$left" ] || pause_ms=$left
  [ "$pause_ms" -le 0 ] || sleep_ms "$pause_ms"
}

finish() {
  write_highlight "$1"
  exit 0
}

not_released() { # why
  write_warning "Not released: $1 octowait frees the machines when it learns that the task has ended."
  exit 0
}

# 1. Check the parameters.
task=$(variable "Octopus.Task.Id")
parameter "Octowait.Url" "" url
while [ "$url" != "${url%/}" ]; do url=${url%/}; done
parameter "Octowait.Token" "" token
own_machines='^([,[:space:]]*|#\{Octopus\.Deployment\.Machines\})$'
parameter "Octowait.Machines" "$(variable "Octopus.Deployment.Machines")" machine_list "$own_machines"

url_pattern='^https?://[^[:space:]"\?{}#]+$'
[[ $task =~ $id_pattern ]] \
  || problem "Octopus.Task.Id" "$task" "an id such as ServerTasks-4711"
[[ $url =~ $url_pattern ]] \
  || problem "Octowait.Url" "$url" "an address such as https://octowait.example.com"
is_printable "$token" \
  || problem "Octowait.Token" "${token:+***}" "a token of the role step"

if [ -n "$problems" ]; then
  not_released "$problems."
fi

# 2. No machines: nothing was held.
if ! [[ $machine_list =~ [^,[:space:]] ]]; then
  finish "This deployment has no machines: nothing to release."
fi

# 3. Give them back.
reason='?reason=release%20step%2C%20no%20error%20in%20the%20deployment'
if [ -n "$(variable "Octopus.Deployment.Error")" ]; then
  reason='?reason=release%20step%2C%20the%20deployment%20has%20an%20error'
fi

while :; do
  ask DELETE "$reason" "" 0 5

  case $state in
    released)
      finish "Released: $task has given its machines back."
      ;;
    left)
      finish "Left: $task was still waiting and has left the line."
      ;;
    nothing)
      finish "Nothing to release: $task holds no machines."
      ;;
    interrupted)
      draw_pause 4
      failures=$((failures + 1))
      if [ $(($(elapsed) + pause_ms / 1000 + 5)) -gt "$give_up_seconds" ] || [ "$failures" -gt 5 ]; then
        not_released "octowait at $url did not answer ($message)."
      fi
      sleep_ms "$pause_ms"
      ;;
    *)
      not_released "$message."
      ;;
  esac
done
