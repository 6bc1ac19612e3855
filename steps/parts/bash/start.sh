# Whatever was set before: a trace would show the token, and the rest changes what commands and patterns mean.
{ set +x; } 2>/dev/null
set +eu
set +o pipefail +o posix
shopt -u nocasematch xpg_echo
IFS=$' \t\n'
export LC_ALL=C
# Octopus's functions echo unquoted: a star or a bracket in a message is no file name.
set -f

# A clock that nobody sets, where the system has one; else Bash's, whose first second may be a short one.
clock_file=/proc/uptime
started_ms=0

read_clock() { # sets now_ms: milliseconds since the start
  local uptime
  if [ -r "$clock_file" ]; then
    read -r uptime _ <"$clock_file"
    now_ms=$((10#${uptime/./} * 10 - started_ms))
  else
    now_ms=$((SECONDS * 1000 - started_ms))
  fi
}

start_clock() {
  started_ms=0
  read_clock
  started_ms=$now_ms
  [ -r "$clock_file" ] || started_ms=$((started_ms + 999))
}

start_clock

lasting() { # seconds; fewer of them in tests
  local seconds=$(($1 / ${OCTOWAIT_TIME_DIVISOR:-1}))
  printf '%s' "$((seconds < 1 ? 1 : seconds))"
}
