parameter "Octowait.TimeoutMinutes" "120" timeout_minutes "$one_expression"
parameter "Octowait.Priority" "0" priority "$one_expression"
parameter "Octowait.OnBehalfOf" "" on_behalf_of "$one_expression"
parameter "Octowait.WhenUnreachable" "fail" wish "$one_expression"
when_unreachable=$(lower_case "$wish")

timeout_seconds=0
if [[ $timeout_minutes =~ ^[0-9]{1,5}(\.[0-9]{1,3})?$ ]]; then
  timeout_seconds=$(($(thousandths "$timeout_minutes") * 60 / 1000))
fi

[ "$timeout_seconds" -ge 1 ] && [ "$timeout_seconds" -le 604800 ] \
  || problem "Octowait.TimeoutMinutes" "$timeout_minutes" "minutes above 0, at most 10080"
[[ $priority =~ ^-?([0-9]{1,7})$ ]] && [ "$((10#${BASH_REMATCH[1]}))" -le 1000000 ] \
  || problem "Octowait.Priority" "$priority" "a whole number from -1000000 to 1000000"
[[ -z $on_behalf_of || $on_behalf_of =~ $id_pattern ]] \
  || problem "Octowait.OnBehalfOf" "$on_behalf_of" "nothing, or an id such as ServerTasks-4711"
[[ $when_unreachable == fail || $when_unreachable == proceed ]] \
  || problem "Octowait.WhenUnreachable" "$wish" "fail or proceed"
for machine in "${machines[@]}"; do
  [[ $machine =~ $id_pattern ]] \
    || problem "Octowait.Machines" "$machine" "ids such as Machines-7, separated by commas"
done
if [ -n "$problems" ]; then
  fail "$problems."
fi
