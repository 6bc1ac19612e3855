$timeoutMinutes = Get-StepParameter "Octowait.TimeoutMinutes" "120" $oneExpression
$priority = Get-StepParameter "Octowait.Priority" "0" $oneExpression
$onBehalfOf = Get-StepParameter "Octowait.OnBehalfOf" "" $oneExpression
$whenUnreachable = Get-StepParameter "Octowait.WhenUnreachable" "fail" $oneExpression

$machines = @($machineList.Split(',') | ForEach-Object { $_.Trim() } | Where-Object { $_ -ne '' })
$timeoutSeconds = 0
if ($timeoutMinutes -match '^[0-9]{1,5}(\.[0-9]{1,3})?\z') {
    $minutes = [decimal]::Parse($timeoutMinutes, [System.Globalization.CultureInfo]::InvariantCulture)
    $timeoutSeconds = [int][math]::Floor($minutes * 60)
}

if ($timeoutSeconds -lt 1 -or $timeoutSeconds -gt 604800) {
    Add-Problem "Octowait.TimeoutMinutes" $timeoutMinutes "minutes above 0, at most 10080"
}
if ($priority -notmatch '^-?[0-9]{1,7}\z' -or [math]::Abs([int]$priority) -gt 1000000) {
    Add-Problem "Octowait.Priority" $priority "a whole number from -1000000 to 1000000"
}
if ($onBehalfOf -ne '' -and $onBehalfOf -notmatch $idPattern) {
    Add-Problem "Octowait.OnBehalfOf" $onBehalfOf "nothing, or an id such as ServerTasks-4711"
}
if ($whenUnreachable -cne 'fail' -and $whenUnreachable -cne 'proceed') {
    Add-Problem "Octowait.WhenUnreachable" $whenUnreachable "fail or proceed"
}
foreach ($machine in $machines) {
    if ($machine -notmatch $idPattern) {
        Add-Problem "Octowait.Machines" $machine "ids such as Machines-7, separated by commas"
    }
}
if ($script:problems.Count -gt 0) {
    Stop-WithReason (($script:problems -join '; ') + '.')
}

# The deployment target whose mutex this script holds.
$target = Get-OctopusValue "Octopus.Machine.Id"
if ((Get-OctopusValue "OctopusBypassDeploymentMutex") -eq 'True') {
    $target = ''
}
