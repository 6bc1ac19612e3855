# What others wrote is printed without what moves the cursor or turns a line around, and so that no part of it
# is a command to Octopus: that begins with two hashes, wherever they stand and also at the end of the line before.
longest_line=2000
c1_controls=$'\302[\200-\237]'                  # U+0080 to U+009F in UTF-8
letter_mark=$'\330\234'                         # U+061C
direction_marks=$'\342\200[\216\217\250-\256]' # U+200E, U+200F, U+2028 to U+202E
isolates=$'\342\201[\246-\251]'                 # U+2066 to U+2069
continuation=$'[\200-\277]'                     # what goes on with a character of UTF-8

shortened() { # text: the characters that a line may have
  local i characters=0
  for ((i = 0; i < ${#1}; i++)); do
    # shellcheck disable=SC2254 # a pattern
    case ${1:i:1} in
      $continuation) continue ;;
    esac
    if [ "$characters" -eq "$longest_line" ]; then
      printf '%s ...' "${1:0:i}"
      return
    fi
    characters=$((characters + 1))
  done
  printf '%s' "$1"
}

is_plain() { # text: as nearly all is, and then printing it needs no other process
  [ "${#1}" -le "$longest_line" ] || return 1
  case ${1// /} in
    *[!!-~]* | *'##'* | *'#') return 1 ;;
  esac
}

printable() { # text
  local text=$1
  if is_plain "$text"; then
    printf '%s' "$text"
    return
  fi
  text=$(
    printf '%s' "$text" | tr '\000-\037\177' ' ' \
      | sed -e "s/$c1_controls/ /g" -e "s/$letter_mark/ /g" -e "s/$direction_marks/ /g" -e "s/$isolates/ /g"
  )
  [ "${#text}" -le "$longest_line" ] || text=$(shortened "$text")
  printf '%s' "$text" | sed -e 's/##/# #/g' -e 's/##/# #/g' -e 's/#$/# /'
}

print_with() { # one of Octopus's functions, text
  local IFS='' text # they echo unquoted, and a blank at the end has to stay
  text=$(printable "$2")
  if declare -F "$1" >/dev/null; then
    "$1" "$text"
  else
    printf '%s\n' "$text"
  fi
}

print_plain() {
  printf '%s\n' "$(printable "$1")"
}

print_wait() {
  print_with write_wait "$1"
}

print_highlight() {
  print_with write_highlight "$1"
}

print_warning() {
  print_with write_warning "$1"
}

print_progress() { # percent, text; Octopus before 2019.7 shows none
  if declare -F update_progress >/dev/null; then
    update_progress "$1" "$(printable "$2")"
  fi
}
