# Parameters come as variables of Octopus. What is wrong with them is collected and told in one go.
id_pattern='^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$'
expression_pattern='#\{([^{}]*\})?'
one_expression='^#\{[^{}]+\}$'
problems=''

variable() {
  get_octopusvariable "$1"
}

trim() { # text; sets trimmed
  trimmed=${1#"${1%%[![:space:]]*}"}
  trimmed=${trimmed%"${trimmed##*[![:space:]]}"}
}

parameter() { # name, default, shell variable to set, pattern of what counts as not set
  local value rest expression why
  trim "$(variable "$1")"
  value=$trimmed
  # Octopus leaves an expression that it cannot resolve as it stands.
  [[ $value =~ ${4:-^$} ]] && value=''
  rest=$value
  while [[ $rest =~ $expression_pattern ]]; do
    expression=${BASH_REMATCH[0]}
    why="$1 contains '$expression', which Octopus did not resolve: expected a variable of that name in scope"
    problems+="${problems:+; }$why"
    rest=${rest#*"$expression"}
  done
  printf -v "$3" '%s' "${value:-$2}"
}

add_problem() { # name, what is said
  case $problems in
    *"$1 contains "*) return ;; # an unresolved expression says it all
  esac
  problems+="${problems:+; }$2"
}

problem() { # name, value, expected
  add_problem "$1" "$1 is '$2': expected $3"
}

lower_case() {
  printf '%s' "$1" | tr '[:upper:]' '[:lower:]'
}

is_printable() {
  case $1 in
    '' | *[!!-~]*) return 1 ;;
  esac
}

thousandths() { # 1.5 -> 1500
  local whole=${1%%.*} part=000
  case $1 in
    *.*) part=${1#*.}000 ;;
  esac
  printf '%s' $((10#0$whole * 1000 + 10#${part:0:3}))
}
