server_is_new=False # it has told us our own claim
said_details=False
told_family=''
link_pattern='^https?://[A-Za-z0-9._~:/?&=%+@-]{1,2000}$'

note_answer() {
  if [ "$answer_claim" = "$claim" ] && [ "$server_is_new" = False ]; then
    server_is_new=True
    set_octopusvariable "Octowait.Claim" "$claim"
  fi
  if [ -n "$family" ] && [ "$family" != "$told_family" ]; then
    told_family=$family
    set_octopusvariable "Octowait.Family" "$family" -sensitive
  fi
  if [ "$said_details" = False ] && [[ $details =~ $link_pattern ]]; then
    said_details=True
    print_plain "Details: $details"
  fi
}
