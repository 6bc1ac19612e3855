#!/bin/bash
# claim.sh: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.py and claim.ps1 do the same in the same order. Bash 3.2 or newer and curl.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/bash.

# part: start

verb=claim
parked=true
give_up_seconds=60

# part: parameters

# part: http

# part: pause

# part: failure

finish() { # state, number
  local granted=True
  [ "$1" != waiting ] || granted=False
  set_octopusvariable "Octowait.Granted" "$granted"
  set_octopusvariable "Octowait.State" "$1"
  set_octopusvariable "Octowait.FencingToken" "$2"
  exit 0
}

# 1. Check the parameters.
# part: common_parameters

# part: line_parameters

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
# part: body

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
