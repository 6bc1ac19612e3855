$octowaitTask = Get-OctowaitVariable "Octopus.Task.Id"
$octowaitUrl = (Get-OctowaitParameter "Octowait.Url" "").TrimEnd('/')
$octowaitToken = Get-OctowaitParameter "Octowait.Token" ""
$octowaitProxyParameter = Get-OctowaitParameter "Octowait.Proxy" "" $octowaitOneExpression
$octowaitOwnMachines = '^([,;\s]*|#\{Octopus\.Deployment\.Machines\})\z'
$octowaitMachineList = Get-OctowaitParameter "Octowait.Machines" (Get-OctowaitVariable "Octopus.Deployment.Machines") $octowaitOwnMachines
$octowaitMachines = [string[]]@($octowaitMachineList -csplit '[,;\r\n]' | ForEach-Object { $_.Trim() } | Where-Object { $_ -cne '' })

if ($octowaitTask -cnotmatch $octowaitIdPattern) {
    Add-OctowaitProblem "Octopus.Task.Id" $octowaitTask "an id such as ServerTasks-4711"
}
$octowaitAddress = Get-OctowaitAddress $octowaitUrl $octowaitUrlPattern
if ($octowaitUrl -cmatch '@') {
    $octowait.problems += "Octowait.Url has a user or a password in it: expected an address such as https://octowait.example.com"
}
elseif ($null -eq $octowaitAddress) {
    Add-OctowaitProblem "Octowait.Url" $octowaitUrl "an address such as https://octowait.example.com"
}
if ($octowaitToken -cnotmatch '^[!-~]+\z') {
    Add-OctowaitProblem "Octowait.Token" ($octowaitToken -creplace '(?s)^.+$', '***') "a token of the role step"
}
if ($octowaitProxyParameter -cnotmatch '^([Nn][Oo][Nn][Ee])?\z' -and $null -eq (Get-OctowaitAddress $octowaitProxyParameter $octowaitProxyPattern)) {
    Add-OctowaitProblem "Octowait.Proxy" '***' "nothing, none, or an address with a port such as http://proxy.example.com:3128"
}
$octowaitProxy = Find-OctowaitProxy $octowaitProxyParameter $octowaitAddress
