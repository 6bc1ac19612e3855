# The deployment target whose mutex this script holds, if it does.
target=$(variable "Octopus.Machine.Id")
trim "$(variable "OctopusBypassDeploymentMutex")"
bypass=$trimmed
if [ "$(lower_case "$bypass")" = true ]; then
  target='' bypass=''
fi
if [ -n "$target" ] && [ -n "$(variable "Octopus.WorkerPool.Id")" ]; then
  fail "This step runs on a worker on behalf of the deployment target $target, once for each target: \
let it run once, on a worker or on the Octopus Server."
fi
if [ -z "$target" ] && [ -n "$bypass" ]; then
  fail "OctopusBypassDeploymentMutex is '$bypass': this step would keep its worker to itself while it waits, \
and the release step of the run that it waits for could not run there: remove the variable or set it to True."
fi
