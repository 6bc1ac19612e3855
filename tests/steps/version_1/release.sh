#!/bin/bash
# release.sh: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.py and release.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.

# Octopus's functions echo unquoted: a star or a bracket in a message is no file name.
set -f

give_up_seconds=20
url_pattern='^https?://[^[:space:]"\?{}#]+$'
id_pattern='^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$'
pause_base=${OCTOWAIT_RETRY_BASE_SECONDS:-1}

variable() {
  get_octopusvariable "$1"
}

parameter() {
  local value
  value=$(variable "$1")
  value=${value#"${value%%[![:space:]]*}"}
  value=${value%"${value##*[![:space:]]}"}
  # Octopus leaves an expression that it cannot resolve as it stands.
  case $value in
    '#'{*'}') value='' ;;
  esac
  printf '%s' "${value:-$2}"
}

problems=''

problem() { # name, value, expected
  problems+="${problems:+; }$1 is '$2': expected $3"
}

is_printable() {
  local LC_ALL=C
  case $1 in
    '' | *[!!-~]*) return 1 ;;
  esac
}

finish() {
  write_warning "$1 octowait frees the machines when it learns that the task has ended."
  exit 0
}

elapsed() {
  printf '%s' $((SECONDS - started))
}

for_curl() { # curl ends a quoted value at a quote and takes a backslash for an escape
  local LC_ALL=C text=$1 out='' char i
  for ((i = 0; i < ${#text}; i++)); do
    char=${text:i:1}
    case $char in
      '"' | '\') out+="\\$char" ;;
      *) out+=$char ;;
    esac
  done
  printf '%s' "$out"
}

# One DELETE. Sets outcome (released, left, nothing, interrupted or rejected) and message.
ask() { # query, seconds
  local output status detail
  local quote='"' detail_pattern='"detail"[[:space:]]*:[[:space:]]*"(([^"\\]|\\.)*)"'
  outcome=interrupted message=''
  # The token goes through a pipe: the process list shows arguments to everybody.
  output=$(
    printf 'header = "Authorization: Bearer %s"\n' "$(for_curl "$token")" \
      | curl --config - --silent --show-error --globoff --request DELETE --max-time "$2" \
        --header 'Accept: text/plain' --write-out '\n%{http_code}' "$url/api/waits/$task$1" 2>&1
  )
  if [ $? -ne 0 ]; then
    # curl writes the status, 000, after its error or before it.
    message=${output##*curl: }
    message=${message%%$'\n'*}
    return
  fi
  status=${output##*$'\n'}
  if [[ $status == 200 && $output =~ ^(released|left|nothing)\  ]]; then
    outcome=${BASH_REMATCH[1]}
    return
  fi
  detail='not an answer of octowait'
  if [[ $output =~ $detail_pattern ]]; then
    # %b undoes the escapes of JSON, all but that of the quote.
    printf -v detail '%b' "${BASH_REMATCH[1]//\\$quote/$quote}"
  fi
  case $status in
    200 | 408 | 429 | 5??) outcome=interrupted ;;
    *) outcome=rejected ;;
  esac
  message="HTTP $status: $detail"
}

thousandths() { # 1.5 -> 1500
  local whole=${1%%.*} part=000
  case $1 in
    *.*) part=${1#*.}000 ;;
  esac
  printf '%s' $((10#0$whole * 1000 + 10#${part:0:3}))
}

started=$SECONDS

# 1. Check the parameters.
task=$(variable "Octopus.Task.Id")
url=$(parameter "Octowait.Url" "")
while [ "$url" != "${url%/}" ]; do url=${url%/}; done
token=$(parameter "Octowait.Token" "")
machine_list=$(parameter "Octowait.Machines" "$(variable "Octopus.Deployment.Machines")")

[[ $task =~ $id_pattern ]] \
  || problem "Octopus.Task.Id" "$task" "an id such as ServerTasks-4711"
[[ $url =~ $url_pattern ]] \
  || problem "Octowait.Url" "$url" "an address such as https://octowait.example.com"
is_printable "$token" \
  || problem "Octowait.Token" "${token:+***}" "a token of the role step"
if [ -n "$problems" ]; then
  finish "Not released: $problems."
fi

# 2. No machines: nothing was held.
if ! [[ $machine_list =~ [^,[:space:]] ]]; then
  write_highlight "This deployment has no machines: nothing to release."
  exit 0
fi

# 3. Give them back.
reason='?reason=release%20step%2C%20no%20error%20in%20the%20deployment'
if [ -n "$(variable "Octopus.Deployment.Error")" ]; then
  reason='?reason=release%20step%2C%20the%20deployment%20has%20an%20error'
fi
failures=0

while :; do
  ask "$reason" 5
  case $outcome in
    released)
      write_highlight "Released: $task has given its machines back."
      break
      ;;
    left)
      write_highlight "Left: $task was still waiting and has left the line."
      break
      ;;
    nothing)
      write_highlight "Nothing to release: $task holds no machines."
      break
      ;;
    interrupted) ;;
    *) finish "Not released: $message." ;;
  esac
  # Between half and all of 1, 2, 4 s, so that a crowd does not come back all at once.
  whole=$(($(thousandths "$pause_base") * (failures < 2 ? 1 << failures : 4)))
  whole=$((whole / 2 + whole / 2 * (RANDOM % 1001) / 1000))
  failures=$((failures + 1))
  if [ $(($(elapsed) + whole / 1000 + 5)) -gt "$give_up_seconds" ] || [ "$failures" -gt 5 ]; then
    finish "Not released: octowait at $url did not answer ($message)."
  fi
  sleep "$((whole / 1000)).$(printf '%03d' $((whole % 1000)))"
done
exit 0
