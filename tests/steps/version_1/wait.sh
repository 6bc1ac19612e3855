#!/bin/bash
# wait.sh: wait until this run may have all its machines to itself (steps/README.md).
# wait.py and wait.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.

# Octopus's functions echo unquoted: a star or a bracket in a message is no file name.
set -f

block_seconds=25
say_again_seconds=30     # with blocking calls of 25 s and pauses of at most 30 s: a line a minute
first_answer_seconds=120 # under WhenUnreachable = proceed
url_pattern='^https?://[^[:space:]"\?{}#]+$'
duration_pattern='^(.*) for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$'
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

finish() { # state, number
  set_octopusvariable "Octowait.State" "$1"
  set_octopusvariable "Octowait.FencingToken" "$2"
  set_octopusvariable "Octowait.WaitedSeconds" "$(elapsed)"
  exit 0
}

elapsed() {
  printf '%s' $((SECONDS - started))
}

show() { # key, text
  local percent
  if [ "$1" = "$shown_key" ] && [ $(($(elapsed) - shown_at)) -lt "$say_again_seconds" ]; then
    return
  fi
  shown_key=$1
  shown_at=$(elapsed)
  percent=$((shown_at * 100 / timeout_seconds))
  write_wait "$2"
  update_progress "$((percent < 99 ? percent : 99))" "$2"
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
      printf 'header = "Authorization: Bearer %s"\n' "$(for_curl "$token")"
      [ -z "$3" ] || printf 'data-raw = "%s"\n' "$(for_curl "$3")"
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

thousandths() { # 1.5 -> 1500
  local whole=${1%%.*} part=000
  case $1 in
    *.*) part=${1#*.}000 ;;
  esac
  printf '%s' $((10#0$whole * 1000 + 10#${part:0:3}))
}

pause() { # seconds that the server asks for, elapsed seconds to stop at
  # Between half and all of 1, 2, 4 ... 30 s, so that a crowd does not come back all at once.
  local factor=$((1 << (failures < 5 ? failures : 5))) whole left
  whole=$(($(thousandths "$pause_base") * (factor < 30 ? factor : 30)))
  whole=$((whole / 2 + whole / 2 * (RANDOM % 1001) / 1000))
  [ "$whole" -ge $(($1 * 1000)) ] || whole=$(($1 * 1000))
  left=$((($2 - $(elapsed)) * 1000))
  [ "$whole" -le "$left" ] || whole=$left
  [ "$whole" -le 0 ] || sleep "$((whole / 1000)).$(printf '%03d' $((whole % 1000)))"
}

never_answered() {
  local seconds silence why
  ask DELETE "?reason=unreachable%20for%20the%20wait%20step" "" 0 5
  seconds=$(elapsed)
  silence="octowait at $url has not answered for $seconds s"
  if [ "$when_unreachable" = "fail" ]; then
    fail "$silence. $last_message"
  fi
  why="as Octowait.WhenUnreachable says"
  write_warning "$silence: going on WITHOUT waiting, $why. $last_message"
  finish "unreachable" 0
}

give_up() {
  ask DELETE "?reason=time-out%20of%20the%20wait%20step" "" 0 5
  fail "Gave up after $timeout_minutes min (Octowait.TimeoutMinutes). $last_message"
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
redis_url=$(parameter "Octowait.RedisUrl" "")

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

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
target=$(variable "Octopus.Machine.Id")
case $(variable "OctopusBypassDeploymentMutex") in
  [Tt][Rr][Uu][Ee]) target='' ;;
esac
if [ -n "$target" ]; then
  fail "This step runs on the deployment target $target and would block the very deployment \
it waits for: run it on a worker or on the Octopus Server, \
or set OctopusBypassDeploymentMutex to True."
fi

# 3. No machines: nothing to wait for.
if [ "${#machines[@]}" -eq 0 ]; then
  write_highlight "This deployment has no machines: nothing to wait for."
  finish "no_machines" 0
fi

if [ -n "$redis_url" ]; then
  error='not supported in Bash'
  write_warning "Octowait.RedisUrl is not usable here ($error): blocking over HTTP."
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
 \"parked\": false}"
body=${body//$'\n'/}

# 5. Join the line and block until granted.
patience=$timeout_seconds
if [ "$when_unreachable" = "proceed" ] && [ "$patience" -gt "$first_answer_seconds" ]; then
  patience=$first_answer_seconds
fi
last_message='octowait has not answered.'
shown_key='' shown_at=0
failures=0
has_answered=False # it gave us a place at least once
in_line=False      # nothing has gone wrong since then

while :; do
  if [ "$has_answered" = False ] && [ "$(elapsed)" -ge "$patience" ]; then
    never_answered
  fi
  if [ "$(elapsed)" -ge "$timeout_seconds" ]; then
    give_up
  fi

  if [ "$in_line" = True ]; then
    block=$((timeout_seconds - $(elapsed)))
    [ "$block" -ge 1 ] || block=1
    [ "$block" -le "$block_seconds" ] || block=$block_seconds
    ask GET "?block_seconds=$block" "" "$block" 20
  else
    ask PUT "" "$body" 0 20
  fi

  case $state in
    waiting)
      if [ "$has_answered" = True ] && [ "$is_new" = True ]; then
        write_wait "The place in the line was lost: joined again at the end."
      fi
      [ "$in_line" = False ] || failures=0
      has_answered=True in_line=True
      last_message=$message
      # What is expected changes with every look, and is no news by itself.
      key=${message%% Expected *}
      [[ $key =~ $duration_pattern ]] && key=${BASH_REMATCH[1]}
      show "$number $key" "$message"
      ;;
    granted)
      write_highlight "$message"
      finish "granted" "$number"
      ;;
    expired | unknown)
      write_wait "$message Asking for a place again."
      in_line=False
      pause 0 "$timeout_seconds"
      failures=$((failures + 1))
      ;;
    interrupted)
      last_message="octowait did not answer ($message)."
      show "interrupted" "$last_message Asking again until the time-out."
      in_line=False
      until=$timeout_seconds
      [ "$has_answered" = True ] || until=$patience
      pause "$retry_after" "$until"
      failures=$((failures + 1))
      ;;
    timed_out)
      give_up
      ;;
    *)
      fail "octowait does not let this run wait: $message"
      ;;
  esac
done
