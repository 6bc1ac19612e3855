#!/bin/bash
# claim.sh: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.py and claim.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/bash.

# part: start

verb='claim'
parked=true

# part: text

# part: failure

# part: parameters

# part: address

# part: route

# part: claim_id

# part: http

# part: answer

# part: pause

# part: contact

# part: log

first_contact_seconds=$(lasting 60)

finish() { # state, number
  local granted=True
  [ "$1" != waiting ] || granted=False
  set_octopusvariable "Octowait.Granted" "$granted"
  set_octopusvariable "Octowait.State" "$1"
  set_octopusvariable "Octowait.FencingToken" "$2"
  exit 0
}

choose_end() { # sets until; only while nobody has answered may "proceed" make it later
  choose_first_contact_end
  if [ "$has_answered" = True ]; then
    until=$((first_contact_seconds < timeout_seconds ? first_contact_seconds : timeout_seconds))
  fi
}

give_up() {
  local seconds=$((now_ms / 1000))
  if [ "$has_answered" = False ]; then
    never_answered
  fi
  ask DELETE "?reason=unreachable%20for%20the%20claim%20step" "" 5
  if [ "$was_granted" = True ]; then
    fail "octowait at $url has not confirmed its grant for $seconds s. $last_message"
  fi
  fail "octowait at $url has given no place for $seconds s. $last_message"
}

# 1. Check the parameters.
has_curl || fail "$no_curl"
# part: common_parameters

# part: line_parameters

# 2. Not on a deployment target: there this script would wait for the mutex, in a task slot and in no line.
# part: placement

if [ -n "$target" ]; then
  fail "This step runs on the deployment target $target and would wait there for other scripts, \
in a task slot and before it has a place in line: \
run it on a worker or on the Octopus Server, \
or set OctopusBypassDeploymentMutex to True."
fi

# 3. No machines: nothing to wait for.
if [ "${#machines[@]}" -eq 0 ]; then
  print_highlight "This deployment has no machines: nothing to wait for."
  finish "no_machines" 0
fi

# 4. Say who we are.
# part: body

# 5. Take a place in line and leave. A grant counts when a call made after it was read confirms it.
start_clock # what came before takes seconds on a worker that has much to do
next='join' # join or confirm
has_asked=False
was_granted=False
confirmations=0

while :; do
  read_clock
  choose_end
  if [ "$has_asked" = True ] && [ "$next" != confirm ] && [ "$now_ms" -ge $((until * 1000)) ]; then
    give_up
  fi

  call_was=$next
  has_asked=True
  case $next in
    join) ask PUT "" "$body" 20 ;;
    confirm) ask GET "?block_seconds=0" "" 20 ;;
  esac
  note_contact
  note_answer

  case $state in
    waiting)
      print_wait "$message"
      print_highlight "The manual intervention after this step pauses the deployment without a task slot, \
until octowait resumes it or, after $timeout_minutes min (Octowait.TimeoutMinutes), aborts it."
      finish "waiting" 0
      ;;
    granted)
      if [ "$server_is_new" = False ] || [ "$call_was" = confirm ]; then
        print_highlight "$message"
        finish "granted" "$number"
      fi
      was_granted=True next='confirm' confirmations=0
      ;;
    expired | unknown)
      print_wait "$message Asking for a place again."
      next='join'
      pause 0 "$until"
      failures=$((failures + 1))
      ;;
    silence | heard | busy)
      confirmations=$((confirmations + 1))
      if [ "$call_was$confirmations" = confirm1 ] && [ "$state" != busy ]; then
        continue
      fi
      last_message="octowait did not answer ($message)."
      next='join'
      choose_end
      print_wait "$last_message Asking again until $until s have passed."
      pause "$retry_after" "$until"
      failures=$((failures + 1))
      ;;
    *)
      fail "octowait does not let this run wait: $message"
      ;;
  esac
done
