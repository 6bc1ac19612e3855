#!/bin/bash
# The functions that Octopus gives a Bash script, as far as the steps use them: written for these tests, with the names,
# the echo without quotes, the exit status and the service messages of Calamari's Bootstrap.sh.
#
# octopus_bootstrap.sh VARIABLES SCRIPT [MODULE]; VARIABLES has a line "base64-name base64-value" for each, MODULE is
# sourced first.

octopus_variables_file=$1
octopus_script=$2
octopus_module=${3:-}
set --

encode_servicemessagevalue() {
  echo -n "$1" | openssl enc -base64 -A
}

get_octopusvariable() {
  local wanted name value
  wanted=$(encode_servicemessagevalue "$1")
  while read -r name value; do
    if [ "$name" = "$wanted" ]; then
      echo -n "$value" | openssl enc -base64 -A -d
      return
    fi
  done <"$octopus_variables_file"
  echo ""
}

set_octopusvariable() {
  MESSAGE="##octopus[setVariable"
  if [ -n "$1" ]; then MESSAGE="$MESSAGE name='$(encode_servicemessagevalue "$1")'"; fi
  if [ -n "$2" ]; then MESSAGE="$MESSAGE value='$(encode_servicemessagevalue "$2")'"; fi
  if [ "${3:-}" = "-sensitive" ]; then MESSAGE="$MESSAGE sensitive='$(encode_servicemessagevalue "True")'"; fi
  MESSAGE="$MESSAGE]"
  echo $MESSAGE
}

fail_step() {
  if [ -n "${1:-}" ]; then
    echo "##octopus[resultMessage message='$(encode_servicemessagevalue "$1")']"
  fi
  exit 1
}

update_progress() {
  echo "##octopus[progress percentage='$(encode_servicemessagevalue "$1")' message='$(encode_servicemessagevalue "$2")']"
}

write_level() {
  echo "##octopus[stdout-$1]"
  echo $2
  echo "##octopus[stdout-default]"
}

write_verbose() { write_level verbose "$1"; }
write_highlight() { write_level highlight "$1"; }
write_wait() { write_level wait "$1"; }
write_warning() { write_level warning "$1"; }

if [ -n "$octopus_module" ]; then
  . "$octopus_module"
fi
. "$octopus_script"
