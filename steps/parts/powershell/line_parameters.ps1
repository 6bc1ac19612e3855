$octowaitTimeoutMinutes = Get-OctowaitParameter "Octowait.TimeoutMinutes" "120" $octowaitOneExpression
$octowaitPriority = Get-OctowaitParameter "Octowait.Priority" "0" $octowaitOneExpression
$octowaitOnBehalfOf = Get-OctowaitParameter "Octowait.OnBehalfOf" "" $octowaitOneExpression
$octowaitWhenUnreachable = Get-OctowaitParameter "Octowait.WhenUnreachable" "fail" $octowaitOneExpression

$octowaitTimeoutSeconds = 0
if ($octowaitTimeoutMinutes -cmatch '^[0-9]{1,5}(\.[0-9]{1,3})?\z') {
    $octowaitMinutes = [decimal]::Parse($octowaitTimeoutMinutes, [System.Globalization.CultureInfo]::InvariantCulture)
    $octowaitTimeoutSeconds = [int][math]::Floor($octowaitMinutes * 60)
}

if ($octowaitTimeoutSeconds -lt 1 -or $octowaitTimeoutSeconds -gt 604800) {
    Add-OctowaitProblem "Octowait.TimeoutMinutes" $octowaitTimeoutMinutes "minutes above 0, at most 10080"
}
if ($octowaitPriority -cnotmatch '^-?[0-9]{1,7}\z' -or [math]::Abs([int]$octowaitPriority) -gt 1000000) {
    Add-OctowaitProblem "Octowait.Priority" $octowaitPriority "a whole number from -1000000 to 1000000"
}
if ($octowaitOnBehalfOf -cne '' -and $octowaitOnBehalfOf -cnotmatch $octowaitIdPattern) {
    Add-OctowaitProblem "Octowait.OnBehalfOf" $octowaitOnBehalfOf "nothing, or an id such as ServerTasks-4711"
}
if (@('fail', 'proceed') -cnotcontains $octowaitWhenUnreachable.ToLowerInvariant()) {
    Add-OctowaitProblem "Octowait.WhenUnreachable" $octowaitWhenUnreachable "fail or proceed"
}
$octowaitWhenUnreachable = $octowaitWhenUnreachable.ToLowerInvariant()
foreach ($octowaitMachine in $octowaitMachines) {
    if ($octowaitMachine -cnotmatch $octowaitIdPattern) {
        Add-OctowaitProblem "Octowait.Machines" $octowaitMachine "ids such as Machines-7, separated by commas"
    }
}
if ($octowait.problems.Count -gt 0) {
    Stop-OctowaitStep (($octowait.problems -join '; ') + '.')
}
