task=$(variable "Octopus.Task.Id")
parameter "Octowait.Url" "" url
while [ "$url" != "${url%/}" ]; do url=${url%/}; done
parameter "Octowait.Token" "" token
own_machines='^([,[:space:]]*|#\{Octopus\.Deployment\.Machines\})$'
parameter "Octowait.Machines" "$(variable "Octopus.Deployment.Machines")" machine_list "$own_machines"

url_pattern='^https?://[^[:space:]"\?{}#]+$'
[[ $task =~ $id_pattern ]] \
  || problem "Octopus.Task.Id" "$task" "an id such as ServerTasks-4711"
[[ $url =~ $url_pattern ]] \
  || problem "Octowait.Url" "$url" "an address such as https://octowait.example.com"
is_printable "$token" \
  || problem "Octowait.Token" "${token:+***}" "a token of the role step"
