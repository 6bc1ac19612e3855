escaped() { # as JSON wants it between quotes
  local text='' char i
  for ((i = 0; i < ${#1}; i++)); do
    char=${1:i:1}
    case $char in
      '"' | \\) text+="\\$char" ;;
      [[:cntrl:]])
        printf -v char '\\u%04x' "'$char"
        text+=$char
        ;;
      *) text+=$char ;;
    esac
  done
  printf '%s' "$text"
}

json_string() { # null when there is nothing to say
  if [ -z "$1" ]; then
    printf 'null'
  else
    printf '"%s"' "$(escaped "$1")"
  fi
}

named() { # kind, name variable, label
  local id name
  id=$(variable "$1.Id")
  name=$(variable "$2")
  if [ -z "$id$name" ]; then
    printf 'null'
    return
  fi
  printf '{"id": %s, "%s": %s}' "$(json_string "$id")" "$3" "$(json_string "$name")"
}

server=$(variable "Octopus.Web.ServerUri")
[ -n "$server" ] || server=$(variable "Octopus.Web.BaseUrl")
link=$(variable "Octopus.Web.DeploymentLink")
[ -n "$link" ] || link=$(variable "Octopus.Web.RunbookRunLink")
address=''
if [[ $server =~ ^https?:// ]] && [ -n "$link" ]; then
  address=${server%/}$link
fi
list=''
for machine in "${machines[@]}"; do
  list+="${list:+, }\"$machine\""
done
sign=${priority%%[0-9]*}
body="{\"space_id\": $(json_string "$(variable "Octopus.Space.Id")"),
 \"machines\": [$list],
 \"deployment_id\": $(json_string "$(variable "Octopus.Deployment.Id")"),
 \"runbook_run_id\": $(json_string "$(variable "Octopus.RunbookRun.Id")"),
 \"project\": $(named "Octopus.Project" "Octopus.Project.Name" "name"),
 \"environment\": $(named "Octopus.Environment" "Octopus.Environment.Name" "name"),
 \"release\": $(named "Octopus.Release" "Octopus.Release.Number" "version"),
 \"tenant\": $(named "Octopus.Deployment.Tenant" "Octopus.Deployment.Tenant.Name" "name"),
 \"url\": $(json_string "$address"),
 \"priority\": $sign$((10#${priority#-})),
 \"timeout_seconds\": $timeout_seconds,
 \"on_behalf_of\": $(json_string "$on_behalf_of"),
 \"parked\": $parked}"
body=${body//$'\n'/}
