states='waiting|granted|expired|left|refused|released|timed_out|nothing'
state_pattern="^($states) ([0-9]{1,18})\$"
cut_pattern="^($states)( [0-9]*)?\$"
code_pattern='"code"[[:space:]]*:[[:space:]]*"([a-z][a-z0-9_]*)"'
detail_pattern='"detail"[[:space:]]*:[[:space:]]*"(([^"\]|\\.)*)"'
claim_pattern='^[A-Za-z0-9_-]{16,64}$'
hex='[0-9A-Fa-f]'
seen='' # octowait's last word to be said again in the next call

utf8() { # code point; sets char
  local octal
  if [ "$1" -eq 0 ] || [ $(($1 >> 11)) -eq 27 ]; then
    octal=' ' # what no shell can hold, or half of a character
  elif [ "$1" -lt 128 ]; then
    printf -v octal '\\%03o' "$1"
  elif [ "$1" -lt 2048 ]; then
    printf -v octal '\\%03o' $((192 | $1 >> 6)) $((128 | $1 & 63))
  elif [ "$1" -lt 65536 ]; then
    printf -v octal '\\%03o' $((224 | $1 >> 12)) $((128 | $1 >> 6 & 63)) $((128 | $1 & 63))
  else
    printf -v octal '\\%03o' $((240 | $1 >> 18)) $((128 | $1 >> 12 & 63)) $((128 | $1 >> 6 & 63)) $((128 | $1 & 63))
  fi
  # shellcheck disable=SC2059 # the bytes that it names
  printf -v char "$octal"
}

unescaped() { # what stands between the quotes of a string in JSON
  # A character takes twelve bytes at most, and of more than a line has no more is needed.
  local rest=${1:0:longest_line*12} text='' before char
  while [ "${#text}" -le $((longest_line * 4)) ]; do
    before=${rest%%\\*}
    text+=$before
    rest=${rest:${#before}}
    case $rest in
      '') break ;;
      \\u[Dd][89ABab]$hex$hex\\u[Dd][C-Fc-f]$hex$hex*) # two halves of one character
        utf8 $((0x10000 + (0x${rest:2:4} & 1023) * 1024 + (0x${rest:8:4} & 1023)))
        rest=${rest:12}
        ;;
      \\u$hex$hex$hex$hex*)
        utf8 $((0x${rest:2:4}))
        rest=${rest:6}
        ;;
      *)
        char=${rest:1:1}
        case $char in
          [bfnrt]) char=' ' ;;
        esac
        rest=${rest:2}
        ;;
    esac
    text+=$char
  done
  printf '%s' "$text"
}

take_pairs() { # the words of the third line
  while [ $# -ge 2 ]; do
    case $1 in
      claim) ! [[ $2 =~ $claim_pattern ]] || answer_claim=$2 ;;
      seen) seen=$2 ;;
      news) news=$2 ;;
      family) family=$2 ;;
      details) details=$2 ;;
    esac
    shift 2
  done
}

take_state() { # fails when the text is none
  local line=${text%%$'\n'*} rest
  rest=${text:${#line}}
  if [ -z "$rest" ]; then
    if [[ $line =~ $cut_pattern ]]; then
      reason="the answer broke off"
      silent "$reason$through"
    fi
    return 1
  fi
  [[ $line =~ $state_pattern ]] || return 1
  state=${BASH_REMATCH[1]} number=$((10#${BASH_REMATCH[2]}))
  [ "$status" = 200 ] || is_new=True
  rest=${rest:1}
  message=${rest%%$'\n'*}
  rest=${rest:${#message}}
  case $rest in
    $'\n'*$'\n'*) # without its line end the third line may be cut
      rest=${rest:1}
      rest=${rest%%$'\n'*}
      # shellcheck disable=SC2086 # its words
      ! is_printable "${rest// /}" || take_pairs $rest
      ;;
  esac
}

take_problem() { # method; fails when the text is none of octowait's
  local code
  [[ $text =~ ^[[:space:]]*\{ && $text =~ $code_pattern ]] || return 1
  code=${BASH_REMATCH[1]}
  [[ $text =~ $detail_pattern ]] || return 1
  message="HTTP $status: $(unescaped "${BASH_REMATCH[1]}")"
  case $status:$1:$code in
    404:GET:* | 404:DELETE:*) state=unknown ;;
    404:*:unknown_run | 408:* | 429:* | 5??:*) state=busy ;;
    401:*) state=token ;;
    4??:*) state=rejected ;;
    *) return 1 ;;
  esac
  case $status in
    401 | 403) message+=" (see Octowait.Token: a release keeps the variables that it was made with)" ;;
  esac
}

foreign() { # an answer that is not octowait's
  local remedy=''
  case $status:$through in
    407:?*)
      remedy="a user and a password for it can stand in Octowait.Proxy"
      heard "HTTP $status: not an answer of octowait$through; $remedy"
      return
      ;;
    3??:*) remedy="; redirects are not followed, so Octowait.Url must be the address itself" ;;
  esac
  heard "HTTP $status: not an answer of octowait$remedy$through"
  case $status in
    502 | 503 | 504) failure=silence ;;
  esac
}

# Sets state, with message, number and what comes with them. Besides octowait's states: silence and heard (no answer
# of octowait), busy (it cannot answer now), unknown (it knows no such run), token and rejected.
ask() { # method, query, body, seconds
  state='' number=0 message='' is_new=False answer_claim='' news='' family='' details=''
  call "$@"
  if [ -z "$failure" ]; then
    case $status in
      200 | 201) take_state && return ;;
      *) take_problem "$1" && return ;;
    esac
    [ -n "$failure" ] || foreign
  fi
  state=$failure message=$reason
}
