#!/bin/bash
# release.sh: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.py and release.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/bash.

# part: start

verb='release'
give_up_seconds=20

# part: text

# part: parameters

# part: address

# part: route

# part: http

# part: answer

# part: pause

finish() {
  print_highlight "$1"
  exit 0
}

not_released() { # why
  print_warning "Not released: $1 octowait frees the machines when it learns that the task has ended."
  exit 0
}

pause_or_give_up() {
  draw_pause 4
  failures=$((failures + 1))
  read_clock
  if [ $((now_ms + pause_ms + 5000)) -gt $((give_up_seconds * 1000)) ] || [ "$failures" -gt 5 ]; then
    not_released "octowait at $url did not answer ($message)."
  fi
  sleep_ms "$pause_ms"
}

# 1. Check the parameters.
has_curl || not_released "$no_curl"
# part: common_parameters

parameter "Octowait.Claim" "" claim "$one_expression"
[[ -z $claim || $claim =~ $claim_pattern ]] \
  || problem "Octowait.Claim" "$claim" "nothing, or the output variable Octowait.Claim of the wait or claim step"
if [ -n "$problems" ]; then
  not_released "$problems."
fi

# 2. No machines: nothing was held.
if [ "${#machines[@]}" -eq 0 ]; then
  finish "This deployment has no machines: nothing to release."
fi

# 3. Whose they are: a run that was started again meanwhile keeps its own.
start_clock # what came before takes seconds on a worker that has much to do
while [ -z "$claim" ]; do
  ask GET "?look=1" "" 5

  case $state:$status in
    silence:* | heard:* | busy:*) pause_or_give_up ;;
    unknown:*) finish "Nothing to release: $task holds no machines." ;;
    rejected:422) break ;; # an octowait of before claims
    rejected:* | token:*) not_released "$message." ;;
    *)
      claim=$answer_claim
      break
      ;;
  esac
done

# 4. Give them back.
query='?reason=release%20step%2C%20no%20error%20in%20the%20deployment'
if [ -n "$(variable "Octopus.Deployment.Error")" ]; then
  query='?reason=release%20step%2C%20the%20deployment%20has%20an%20error'
fi

while :; do
  ask DELETE "$query" "" 5

  case $state in
    released)
      finish "Released: $task has given its machines back."
      ;;
    left)
      finish "Left: $task was still waiting and has left the line."
      ;;
    nothing | unknown)
      finish "Nothing to release: $task holds no machines."
      ;;
    silence | heard | busy)
      pause_or_give_up
      ;;
    *)
      not_released "$message."
      ;;
  esac
done
