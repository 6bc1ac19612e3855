escaped() { # as JSON and curl's configuration want it between quotes
  local LC_ALL=C text=$1 out='' char i
  for ((i = 0; i < ${#text}; i++)); do
    char=${text:i:1}
    case $char in
      '"' | '\') out+="\\$char" ;;
      [[:cntrl:]])
        printf -v char '\\u%04x' "'$char"
        out+=$char
        ;;
      *) out+=$char ;;
    esac
  done
  printf '%s' "$out"
}

# One call. Besides octowait's states: unknown, interrupted, rejected (asking again is no use).
# Sets state, number, message, is_new and retry_after.
ask() { # method, query, body, seconds to block, seconds for the rest
  local output line text status=0 detail address=$url/api/waits/$task$2 limit=$(($4 + $5))
  local quote='"' detail_pattern='"detail"[[:space:]]*:[[:space:]]*"(([^"\\]|\\.)*)"'
  local connect=$((limit < 10 ? limit : 10))
  state=interrupted number=0 message='' is_new=False retry_after=0
  # The token and the body go through a pipe: the process list shows arguments to everybody.
  output=$(
    {
      printf 'header = "Authorization: Bearer %s"\n' "$(escaped "$token")"
      [ -z "$3" ] || printf 'data-raw = "%s"\n' "$(escaped "$3")"
    } | curl --config - --silent --show-error --include --globoff --request "$1" --max-time "$limit" \
      --connect-timeout "$connect" --header 'Accept: text/plain' --header 'Expect:' \
      --header 'Content-Type: application/json; charset=utf-8' "$address" 2>&1
  )
  if [ $? -ne 0 ]; then
    message=${output##*$'\n'}
    message=${message#curl: }
    return
  fi
  # Header blocks (a proxy may put its own before), an empty line, the body.
  text=''
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    case $line in
      HTTP/*)
        status=${line#* }
        status=${status%% *}
        while IFS= read -r line && [ -n "${line%$'\r'}" ]; do
          line=${line%$'\r'}
          if [[ $line =~ ^[Rr][Ee][Tt][Rr][Yy]-[Aa][Ff][Tt][Ee][Rr]:\ *([0-9]{1,4})$ ]]; then
            retry_after=$((10#${BASH_REMATCH[1]}))
          fi
        done
        ;;
      *) text+=$line$'\n' ;;
    esac
  done <<<"$output"
  line=${text%%$'\n'*}
  case $status in
    200 | 201)
      if [[ $line =~ ^([a-z_]+)\ ([0-9]+)$ ]]; then
        state=${BASH_REMATCH[1]}
        number=${BASH_REMATCH[2]}
        [ "$status" = 201 ] && is_new=True
        text=${text#*$'\n'}
        message=${text%%$'\n'*}
        return
      fi
      ;;
  esac
  detail='not an answer of octowait'
  if [[ $text =~ $detail_pattern ]]; then
    # %b undoes the escapes of JSON, all but that of the quote.
    printf -v detail '%b' "${BASH_REMATCH[1]//\\$quote/$quote}"
  fi
  case $status:$1 in
    200:* | 201:* | 408:* | 429:* | 5??:*) state=interrupted ;;
    404:GET) state=unknown ;;
    *) state=rejected ;;
  esac
  message="HTTP $status: $detail"
}
