#Requires -Version 5.1
# claim.ps1: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.sh and claim.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# The functions of Octopus, such as Set-OctopusVariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/powershell.

# All is in a scope of its own, so that no variable of a script module or a project stands in the way.
& {

# part: start

$octowaitVerb = 'claim'
$octowaitParked = $true
$octowaitFirstContactSeconds = 60

# part: text

# part: failure

# part: parameters

# part: address

# part: route

# part: claim_id

# part: http

# part: answer

# part: pause

# part: contact

# part: log

function Complete-OctowaitStep([string]$state, [string]$number) {
    Set-OctopusVariable -name "Octowait.Granted" -value ([string]($state -cne 'waiting'))
    Set-OctopusVariable -name "Octowait.State" -value $state
    Set-OctopusVariable -name "Octowait.FencingToken" -value $number
    exit 0
}

function Stop-OctowaitClaim {
    if (-not $octowait.hasAnswered) {
        Stop-OctowaitUnanswered
    }
    $seconds = [int][math]::Floor((Get-OctowaitElapsed))
    $null = Invoke-Octowait 'DELETE' '?reason=unreachable%20for%20the%20claim%20step' '' 5
    if ($octowait.wasGranted) {
        Stop-OctowaitStep "octowait at $octowaitUrl has not confirmed its grant for $seconds s. $($octowait.last)"
    }
    Stop-OctowaitStep "octowait at $octowaitUrl has given no place for $seconds s. $($octowait.last)"
}

# Once octowait has answered, a minute is enough for a place.
function Get-OctowaitLimit {
    if ($octowait.hasAnswered) {
        return [math]::Min($octowaitTimeoutSeconds, $octowaitFirstContactSeconds / $octowaitTimeDivisor)
    }
    return Get-OctowaitPatience
}

# 1. Check the parameters.
# part: common_parameters

# part: line_parameters

# 2. Not on a deployment target: there this script would wait for the mutex, in a task slot and in no line.
# part: placement

if ($octowaitTarget -cne '') {
    Stop-OctowaitStep ("This step runs on the deployment target $octowaitTarget and would wait there for other scripts, " +
        "in a task slot and before it has a place in line: " +
        "run it on a worker or on the Octopus Server, " +
        "or set OctopusBypassDeploymentMutex to True.")
}

# 3. No machines: nothing to wait for.
if ($octowaitMachines.Count -eq 0) {
    Write-OctowaitHighlight "This deployment has no machines: nothing to wait for."
    Complete-OctowaitStep 'no_machines' '0'
}

# 4. Say who we are.
# part: body

# 5. Take a place in line and leave.
$octowaitClock.Restart()  # what PowerShell took to start does not count
$octowaitHasAsked = $false
$octowait.wasGranted = $false

while ($true) {
    if ($octowaitHasAsked -and (Get-OctowaitElapsed) -ge (Get-OctowaitLimit)) {
        Stop-OctowaitClaim
    }
    $octowaitHasAsked = $true

    $octowaitAnswer = Invoke-OctowaitWait 'PUT' '' $octowaitBody 20
    if ($octowaitAnswer.state -ceq 'granted') {
        $octowait.wasGranted = $true
        $octowaitAnswer = Confirm-OctowaitGrant $octowaitAnswer
    }

    switch -CaseSensitive ($octowaitAnswer.state) {
        'waiting' {
            Write-OctowaitWait $octowaitAnswer.message
            Write-OctowaitHighlight ("The manual intervention after this step pauses the deployment without a task slot, " +
                "until octowait resumes it or, after $octowaitTimeoutMinutes min (Octowait.TimeoutMinutes), aborts it.")
            Complete-OctowaitStep 'waiting' '0'
        }
        'granted' {
            Write-OctowaitHighlight $octowaitAnswer.message
            Complete-OctowaitStep 'granted' $octowaitAnswer.number
        }
        { Test-OctowaitInterrupted $octowaitAnswer } {
            $octowait.last = "octowait did not answer ($($octowaitAnswer.message))."
            $octowaitLimit = Get-OctowaitLimit
            $octowaitSeconds = [int][math]::Floor($octowaitLimit)
            Write-OctowaitWait "$($octowait.last) Asking again until $octowaitSeconds s have passed."
            Wait-OctowaitPause $octowaitAnswer.retryAfter $octowaitLimit
        }
        { @('expired', 'unknown') -ccontains $_ } {
            Write-OctowaitWait "$($octowaitAnswer.message) Asking for a place again."
            Wait-OctowaitPause 0 (Get-OctowaitLimit)
        }
        default {
            Stop-OctowaitStep "octowait does not let this run wait: $($octowaitAnswer.message)"
        }
    }
}

}
