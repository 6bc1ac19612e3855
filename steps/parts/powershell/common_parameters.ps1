$task = Get-OctopusValue "Octopus.Task.Id"
$url = (Get-StepParameter "Octowait.Url" "").TrimEnd('/')
$token = Get-StepParameter "Octowait.Token" ""
$ownMachines = '^([,\s]*|#\{Octopus\.Deployment\.Machines\})\z'
$machineList = Get-StepParameter "Octowait.Machines" (Get-OctopusValue "Octopus.Deployment.Machines") $ownMachines

if ($task -notmatch $idPattern) {
    Add-Problem "Octopus.Task.Id" $task "an id such as ServerTasks-4711"
}
if ($url -notmatch '^https?://[^\s"\\?{}#]+\z') {
    Add-Problem "Octowait.Url" $url "an address such as https://octowait.example.com"
}
if ($token -notmatch '^[!-~]+\z') {
    Add-Problem "Octowait.Token" ($token -replace '(?s)^.+$', '***') "a token of the role step"
}
