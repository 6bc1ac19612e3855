# Octopus's functions echo unquoted: a star or a bracket in a message is no file name.
set -f

started=$SECONDS

elapsed() {
  printf '%s' $((SECONDS - started))
}
