# The deployment target whose mutex this script holds; with OctopusBypassDeploymentMutex it holds none.
$octowaitTarget = Get-OctowaitVariable "Octopus.Machine.Id"
$octowaitMutex = (Get-OctowaitVariable "OctopusBypassDeploymentMutex").Trim()
if ($octowaitMutex -cmatch '^[Tt][Rr][Uu][Ee]\z') {
    $octowaitTarget = ''
}
elseif ($octowaitMutex -cne '' -and $octowaitTarget -ceq '') {
    Stop-OctowaitStep ("OctopusBypassDeploymentMutex is '$octowaitMutex': this step would keep its worker to itself while it waits, " +
        "and the release step of the run that it waits for could not run there: remove the variable or set it to True.")
}
if ($octowaitTarget -cne '' -and (Get-OctowaitVariable "Octopus.WorkerPool.Id") -cne '') {
    Stop-OctowaitStep ("This step runs on a worker on behalf of the deployment target $octowaitTarget, once for each target: " +
        "let it run once, on a worker or on the Octopus Server.")
}
