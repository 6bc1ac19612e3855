#!/bin/bash
# claim.sh: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.py and claim.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.

# Octopus's functions echo unquoted: a star or a bracket in a message is no file name.
set -f

give_up_seconds=60
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

fail() {
  printf '%s\n' "$1" >&2
  fail_step "$1"
}

finish() { # granted, state, number
  set_octopusvariable "Octowait.Granted" "$1"
  set_octopusvariable "Octowait.State" "$2"
  set_octopusvariable "Octowait.FencingToken" "$3"
  exit 0
}

elapsed() {
  printf '%s' $((SECONDS - started))
}

json_string() { # null when there is nothing to say
  local LC_ALL=C text=$1 out='' char i
  if [ -z "$text" ]; then
    printf 'null'
    return
  fi
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
  printf '"%s"' "$out"
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

# One call. Besides octowait's states: interrupted, rejected (asking again is no use).
# Sets state, number, message and retry_after.
ask() { # method, query, body, seconds
  local output line text status=0 detail address=$url/api/waits/$task$2
  local quote='"' detail_pattern='"detail"[[:space:]]*:[[:space:]]*"(([^"\\]|\\.)*)"'
  local connect=$(($4 < 10 ? $4 : 10))
  state=interrupted number=0 message='' retry_after=0
  # The token and the body go through a pipe: the process list shows arguments to everybody.
  output=$(
    {
      printf 'header = "Authorization: Bearer %s"\n' "$(for_curl "$token")"
      [ -z "$3" ] || printf 'data-raw = "%s"\n' "$(for_curl "$3")"
    } | curl --config - --silent --show-error --include --globoff --request "$1" --max-time "$4" \
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
  case $status in
    200 | 201 | 408 | 429 | 5??) state=interrupted ;;
    *) state=rejected ;;
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

pause() { # seconds that the server asks for
  # Between half and all of 1, 2, 4 ... 30 s, so that a crowd does not come back all at once.
  local factor=$((1 << (failures < 5 ? failures : 5))) whole left
  whole=$(($(thousandths "$pause_base") * (factor < 30 ? factor : 30)))
  whole=$((whole / 2 + whole / 2 * (RANDOM % 1001) / 1000))
  [ "$whole" -ge $(($1 * 1000)) ] || whole=$(($1 * 1000))
  left=$(((patience - $(elapsed)) * 1000))
  [ "$whole" -le "$left" ] || whole=$left
  [ "$whole" -le 0 ] || sleep "$((whole / 1000)).$(printf '%03d' $((whole % 1000)))"
}

never_answered() {
  local seconds silence why
  ask DELETE "?reason=unreachable%20for%20the%20claim%20step" "" 5
  seconds=$(elapsed)
  silence="octowait at $url has not answered for $seconds s"
  if [ "$when_unreachable" = "fail" ]; then
    fail "$silence. $last_message"
  fi
  why="as Octowait.WhenUnreachable says"
  write_warning "$silence: going on WITHOUT waiting, $why. $last_message"
  finish "True" "unreachable" 0
}

started=$SECONDS

# 1. Check the parameters.
task=$(variable "Octopus.Task.Id")
url=$(parameter "Octowait.Url" "")
while [ "$url" != "${url%/}" ]; do url=${url%/}; done
token=$(parameter "Octowait.Token" "")
timeout_minutes=$(parameter "Octowait.TimeoutMinutes" "120")
priority=$(parameter "Octowait.Priority" "0")
on_behalf_of=$(parameter "Octowait.OnBehalfOf" "")
when_unreachable=$(parameter "Octowait.WhenUnreachable" "fail")
machine_list=$(parameter "Octowait.Machines" "$(variable "Octopus.Deployment.Machines")")

machines=()
IFS=',' read -r -d '' -a parts <<<"$machine_list"
for machine in ${parts[@]+"${parts[@]}"}; do
  machine=${machine#"${machine%%[![:space:]]*}"}
  machine=${machine%"${machine##*[![:space:]]}"}
  [ -z "$machine" ] || machines+=("$machine")
done
timeout_seconds=0
if [[ $timeout_minutes =~ ^[0-9]{1,5}(\.[0-9]{1,3})?$ ]]; then
  timeout_seconds=$(($(thousandths "$timeout_minutes") * 60 / 1000))
fi

[[ $task =~ $id_pattern ]] \
  || problem "Octopus.Task.Id" "$task" "an id such as ServerTasks-4711"
[[ $url =~ $url_pattern ]] \
  || problem "Octowait.Url" "$url" "an address such as https://octowait.example.com"
is_printable "$token" \
  || problem "Octowait.Token" "${token:+***}" "a token of the role step"
[ "$timeout_seconds" -ge 1 ] && [ "$timeout_seconds" -le 604800 ] \
  || problem "Octowait.TimeoutMinutes" "$timeout_minutes" "minutes above 0, at most 10080"
[[ $priority =~ ^-?([0-9]{1,7})$ ]] && [ "$((10#${BASH_REMATCH[1]}))" -le 1000000 ] \
  || problem "Octowait.Priority" "$priority" "a whole number from -1000000 to 1000000"
[[ -z $on_behalf_of || $on_behalf_of =~ $id_pattern ]] \
  || problem "Octowait.OnBehalfOf" "$on_behalf_of" "nothing, or an id such as ServerTasks-4711"
[[ $when_unreachable == fail || $when_unreachable == proceed ]] \
  || problem "Octowait.WhenUnreachable" "$when_unreachable" "fail or proceed"
for machine in ${machines[@]+"${machines[@]}"}; do
  [[ $machine =~ $id_pattern ]] \
    || problem "Octowait.Machines" "$machine" "ids such as Machines-7, separated by commas"
done
if [ -n "$problems" ]; then
  fail "$problems."
fi

# 2. Not on a deployment target: there this script would wait for the mutex, in a task slot and in no line.
target=$(variable "Octopus.Machine.Id")
case $(variable "OctopusBypassDeploymentMutex") in
  [Tt][Rr][Uu][Ee]) target='' ;;
esac
if [ -n "$target" ]; then
  fail "This step runs on the deployment target $target and would wait there for other scripts, \
in a task slot and before it has a place in line: \
run it on a worker or on the Octopus Server, \
or set OctopusBypassDeploymentMutex to True."
fi

# 3. No machines: nothing to wait for.
if [ "${#machines[@]}" -eq 0 ]; then
  write_highlight "This deployment has no machines: nothing to wait for."
  finish "True" "no_machines" 0
fi

# 4. Say who we are.
server=$(variable "Octopus.Web.ServerUri")
server=${server%/}
link=$(variable "Octopus.Web.DeploymentLink")
address=''
if [[ $server =~ ^https?:// ]] && [ -n "$link" ]; then
  address=$server$link
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
 \"parked\": true}"
body=${body//$'\n'/}

# 5. Take a place in line and leave.
patience=$timeout_seconds
[ "$patience" -le "$give_up_seconds" ] || patience=$give_up_seconds
last_message='octowait has not answered.'
failures=0

while :; do
  if [ "$(elapsed)" -ge "$patience" ]; then
    never_answered
  fi

  ask PUT "" "$body" 20

  case $state in
    waiting)
      write_wait "$message"
      write_highlight "The manual intervention after this step pauses the deployment without a task slot, \
until octowait resumes it or, after $timeout_minutes min (Octowait.TimeoutMinutes), aborts it."
      finish "False" "waiting" 0
      ;;
    granted)
      write_highlight "$message"
      finish "True" "granted" "$number"
      ;;
    interrupted)
      last_message="octowait did not answer ($message)."
      write_wait "$last_message Asking again until $patience s have passed."
      pause "$retry_after"
      failures=$((failures + 1))
      ;;
    *)
      fail "octowait does not let this run wait: $message"
      ;;
  esac
done
