pause_base=${OCTOWAIT_RETRY_BASE_SECONDS:-1}
longest_retry_after=$(lasting 30)
failures=0

draw_pause() { # most seconds; sets pause_ms
  # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
  local factor=$((1 << (failures < 5 ? failures : 5)))
  pause_ms=$(($(thousandths "$pause_base") * (factor < $1 ? factor : $1)))
  pause_ms=$((pause_ms * (1000 + RANDOM % 1001) / 2000))
}

sleep_ms() {
  [ "$1" -gt 0 ] || return
  # Not every sleep knows fractions.
  sleep "$(($1 / 1000)).$(printf '%03d' $(($1 % 1000)))" 2>/dev/null || sleep "$(($1 / 1000 + 1))"
}

pause() { # seconds that the server asks for, seconds since the start to stop at
  local wished=$1 left
  read_clock
  left=$(($2 * 1000 - now_ms))
  [ "$wished" -le "$longest_retry_after" ] || wished=$longest_retry_after
  draw_pause 30
  [ "$pause_ms" -ge $((wished * 1000)) ] || pause_ms=$((wished * 1000))
  [ "$pause_ms" -le "$left" ] || pause_ms=$left
  sleep_ms "$pause_ms"
}
