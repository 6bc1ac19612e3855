#!/bin/bash
# wait.sh: wait until this run may have all its machines to itself (steps/README.md).
# wait.py and wait.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/bash.

# part: start

verb='wait'
parked=false
duration_pattern='^(.*) for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$'

# part: text

# part: failure

# part: parameters

# part: address

# part: route

# part: claim_id

# part: http

# part: answer

# part: pause

# part: polls

# part: contact

# part: log

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
# part: common_parameters

parameter "Octowait.RedisUrl" "" redis_url "$one_expression"

# part: line_parameters

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
# part: placement

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
# part: body

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
