task=$(variable "Octopus.Task.Id")
parameter "Octowait.Url" "" url
while [ "$url" != "${url%/}" ]; do url=${url%/}; done
parameter "Octowait.Token" "" token
own_machines='^([,;[:space:]]*|#\{Octopus\.Deployment\.Machines\})$'
parameter "Octowait.Machines" "$(variable "Octopus.Deployment.Machines")" machine_list "$own_machines"
parameter "Octowait.Proxy" "" proxy_setting "$one_expression"

machines=()
IFS=$',;\n'
for machine in $machine_list; do
  trim "$machine"
  [ -z "$trimmed" ] || machines+=("$trimmed")
done
IFS=$' \t\n'

[[ $task =~ $id_pattern ]] \
  || problem "Octopus.Task.Id" "$task" "an id such as ServerTasks-4711"
case $url in
  *@*)
    why="Octowait.Url has a user or a password in it: expected an address such as https://octowait.example.com"
    add_problem "Octowait.Url" "$why"
    ;;
  *) is_address "$url" || problem "Octowait.Url" "$url" "an address such as https://octowait.example.com" ;;
esac
is_printable "$token" \
  || problem "Octowait.Token" "${token:+***}" "a token of the role step"
case $(lower_case "$proxy_setting") in
  '' | none) ;;
  *)
    (is_proxy "$proxy_setting") \
      || problem "Octowait.Proxy" "***" "nothing, none, or an address with a port such as http://proxy.example.com:3128"
    ;;
esac
choose_route
