# Blocking calls get shorter when something on the way breaks them off, and longer when ten were whole.
blocks=(50 25 12 6)
block_index=0
whole_polls=0
said_shorter=False

poll_was_whole() {
  whole_polls=$((whole_polls + 1))
  if [ "$whole_polls" -ge 10 ] && [ "$block_index" -gt 0 ]; then
    block_index=$((block_index - 1)) whole_polls=0
  fi
}

poll_broke_off() { # reason
  whole_polls=0
  [ "$block_index" -ge 3 ] || block_index=$((block_index + 1))
  if [ "$said_shorter" = False ]; then
    said_shorter=True
    print_wait "A blocking call broke off ($1): asking in shorter ones from now on."
  fi
}

# Tries of a connection that is refused, before the pauses between them grow: a server that restarts is back in seconds,
# and to refuse one costs nobody anything.
quick_tries=12
refusals=0

# A poll that nobody heard is asked again as it was: the place is what it was. After longer it may be lost: join.
is_asked_again() {
  [ "$is_refused" = True ] && [ "$refusals" -lt "$quick_tries" ]
}

# Of which nothing is said: behind a balancer that has lost a backend each other poll is refused.
is_first_refusal() {
  [ "$is_refused" = True ] && [ "$refusals" -eq 0 ]
}

count_failure() {
  if is_asked_again; then
    refusals=$((refusals + 1))
  else
    failures=$((failures + 1))
  fi
}

# Something on the way that answers at once must not make a hot loop.
spread_calls() { # milliseconds since the start of the last call
  read_clock
  if [ $((now_ms - $1)) -lt 1000 ]; then
    sleep_ms 1000
  fi
}

choose_block() { # seconds since the start to stop at; sets block
  local left
  read_clock
  left=$((($1 * 1000 - now_ms + 999) / 1000))
  block=${blocks[block_index]}
  [ "$block" -le "$left" ] || block=$left
  [ "$block" -ge 1 ] || block=1
}
