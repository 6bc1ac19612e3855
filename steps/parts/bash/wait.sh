#!/bin/bash
# wait.sh: wait until this run may have all its machines to itself (steps/README.md).
# wait.py and wait.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/bash.

# part: start

verb=wait
parked=false
block_seconds=25
say_again_seconds=30     # with blocking calls of 25 s and pauses of at most 30 s: a line a minute
first_answer_seconds=120 # under WhenUnreachable = proceed
duration_pattern='^(.*) for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$'

# part: parameters

# part: http

# part: pause

# part: failure

finish() { # state, number
  set_octopusvariable "Octowait.State" "$1"
  set_octopusvariable "Octowait.FencingToken" "$2"
  set_octopusvariable "Octowait.WaitedSeconds" "$(elapsed)"
  exit 0
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

give_up() {
  ask DELETE "?reason=time-out%20of%20the%20wait%20step" "" 0 5
  fail "Gave up after $timeout_minutes min (Octowait.TimeoutMinutes). $last_message"
}

# 1. Check the parameters.
# part: common_parameters

parameter "Octowait.RedisUrl" "" redis_url "$one_expression"

# part: line_parameters

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
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
# part: body

# 5. Join the line and block until granted.
patience=$timeout_seconds
if [ "$when_unreachable" = "proceed" ] && [ "$patience" -gt "$first_answer_seconds" ]; then
  patience=$first_answer_seconds
fi
shown_key='' shown_at=0
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
