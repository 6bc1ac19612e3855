#!/bin/bash
# claim.sh: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.py and claim.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/bash.

# Octopus's functions echo unquoted: a star or a bracket in a message is no file name.
set -f

started=$SECONDS

elapsed() {
  printf '%s' $((SECONDS - started))
}

verb=claim
parked=true
give_up_seconds=60

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

last_message='octowait has not answered.'

fail() {
  printf '%s\n' "$1" >&2
  fail_step "$1"
}

never_answered() {
  local seconds silence why
  ask DELETE "?reason=unreachable%20for%20the%20$verb%20step" "" 0 5
  seconds=$(elapsed)
  silence="octowait at $url has not answered for $seconds s"
  if [ "$when_unreachable" = "fail" ]; then
    fail "$silence. $last_message"
  fi
  why="as Octowait.WhenUnreachable says"
  write_warning "$silence: going on WITHOUT waiting, $why. $last_message"
  finish "unreachable" 0
}

finish() { # state, number
  local granted=True
  [ "$1" != waiting ] || granted=False
  set_octopusvariable "Octowait.Granted" "$granted"
  set_octopusvariable "Octowait.State" "$1"
  set_octopusvariable "Octowait.FencingToken" "$2"
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

parameter "Octowait.TimeoutMinutes" "120" timeout_minutes "$one_expression"
parameter "Octowait.Priority" "0" priority "$one_expression"
parameter "Octowait.OnBehalfOf" "" on_behalf_of "$one_expression"
parameter "Octowait.WhenUnreachable" "fail" when_unreachable "$one_expression"

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

# The deployment target whose mutex this script holds.
target=$(variable "Octopus.Machine.Id")
case $(variable "OctopusBypassDeploymentMutex") in
  [Tt][Rr][Uu][Ee]) target='' ;;
esac

# 2. Not on a deployment target: there this script would wait for the mutex, in a task slot and in no line.
if [ -n "$target" ]; then
  fail "This step runs on the deployment target $target and would wait there for other scripts, \
in a task slot and before it has a place in line: \
run it on a worker or on the Octopus Server, \
or set OctopusBypassDeploymentMutex to True."
fi

# 3. No machines: nothing to wait for.
if [ "${#machines[@]}" -eq 0 ]; then
  write_highlight "This deployment has no machines: nothing to wait for."
  finish "no_machines" 0
fi

# 4. Say who we are.
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
 \"parked\": $parked}"
body=${body//$'\n'/}

# 5. Take a place in line and leave.
patience=$timeout_seconds
[ "$patience" -le "$give_up_seconds" ] || patience=$give_up_seconds

while :; do
  if [ "$(elapsed)" -ge "$patience" ]; then
    never_answered
  fi

  ask PUT "" "$body" 0 20

  case $state in
    waiting)
      write_wait "$message"
      write_highlight "The manual intervention after this step pauses the deployment without a task slot, \
until octowait resumes it or, after $timeout_minutes min (Octowait.TimeoutMinutes), aborts it."
      finish "waiting" 0
      ;;
    granted)
      write_highlight "$message"
      finish "granted" "$number"
      ;;
    interrupted)
      last_message="octowait did not answer ($message)."
      write_wait "$last_message Asking again until $patience s have passed."
      pause "$retry_after" "$patience"
      failures=$((failures + 1))
      ;;
    *)
      fail "octowait does not let this run wait: $message"
      ;;
  esac
done
