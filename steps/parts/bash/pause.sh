pause_base=${OCTOWAIT_RETRY_BASE_SECONDS:-1}
failures=0

draw_pause() { # most seconds; sets pause_ms
  # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
  local factor=$((1 << (failures < 5 ? failures : 5)))
  pause_ms=$(($(thousandths "$pause_base") * (factor < $1 ? factor : $1)))
  pause_ms=$((pause_ms / 2 + pause_ms / 2 * (RANDOM % 1001) / 1000))
}

sleep_ms() {
  sleep "$(($1 / 1000)).$(printf '%03d' $(($1 % 1000)))"
}

pause() { # seconds that the server asks for, elapsed seconds to stop at
  local left=$((($2 - $(elapsed)) * 1000))
  draw_pause 30
  [ "$pause_ms" -ge $(($1 * 1000)) ] || pause_ms=$(($1 * 1000))
  [ "$pause_ms" -le "$left" ] || pause_ms=$left
  [ "$pause_ms" -le 0 ] || sleep_ms "$pause_ms"
}
