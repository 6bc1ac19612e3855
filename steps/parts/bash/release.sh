#!/bin/bash
# release.sh: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.py and release.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/bash.

# part: start

give_up_seconds=20

# part: parameters

# part: http

# part: pause

finish() {
  write_highlight "$1"
  exit 0
}

not_released() { # why
  write_warning "Not released: $1 octowait frees the machines when it learns that the task has ended."
  exit 0
}

# 1. Check the parameters.
# part: common_parameters

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
