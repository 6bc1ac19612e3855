# Who answers: octowait, something else, or nobody.
silence_seconds=$(lasting 120) # after which "proceed" goes on
token_seconds=$(lasting 60)    # that a token may be refused after it was accepted
has_answered=False
was_heard=False
token_refused_ms=''
last_message='octowait has not answered.'
last_heard=''

# Looks at who answered. A token that was good before may be refused for a while, as of a server that restarts.
note_contact() {
  case $state in
    silence) return ;;
    heard)
      was_heard=True last_heard="octowait did not answer ($message)."
      return
      ;;
    token)
      read_clock
      [ -n "$token_refused_ms" ] || token_refused_ms=$now_ms
      if [ "$has_answered" = False ] || [ $((now_ms - token_refused_ms)) -ge $((token_seconds * 1000)) ]; then
        state=rejected
      else
        state=busy
      fi
      ;;
    *) token_refused_ms='' ;;
  esac
  has_answered=True
}

# When a step gives up that octowait has not answered. Sets until, in seconds since the start.
choose_first_contact_end() {
  until=$first_contact_seconds
  if [ "$when_unreachable" = proceed ] && [ "$was_heard" = False ]; then
    until=$silence_seconds
  fi
  [ "$until" -le "$timeout_seconds" ] || until=$timeout_seconds
}

never_answered() {
  local seconds=$((now_ms / 1000)) silence why
  ask DELETE "?reason=unreachable%20for%20the%20$verb%20step" "" 5
  silence="octowait at $url has not answered for $seconds s"
  if [ "$when_unreachable" = fail ]; then
    fail "$silence. $last_message"
  fi
  if [ "$was_heard" = True ]; then
    fail "$silence, but something else did: not going on without waiting. $last_heard"
  fi
  why="as Octowait.WhenUnreachable says"
  print_warning "$silence: going on WITHOUT waiting, $why. $last_message"
  finish "unreachable" 0
}
