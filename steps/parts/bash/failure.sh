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
