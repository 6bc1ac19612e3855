fail() { # text
  local text
  text=$(printable "$1")
  printf '%s\n' "$text" >&2
  fail_step "$text"
  exit 1 # whatever a script module has made of fail_step
}
