#Requires -Version 5.1
# wait.ps1: wait until this run may have all its machines to itself (steps/README.md).
# wait.sh and wait.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# The functions of Octopus, such as Set-OctopusVariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/powershell.

# All is in a scope of its own, so that no variable of a script module or a project stands in the way.
& {

# part: start

$octowaitVerb = 'wait'
$octowaitParked = $false
$octowaitFirstContactSeconds = 300
$octowaitDurationPattern = ' for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$'

# part: text

# part: failure

# part: parameters

# part: address

# part: route

# part: claim_id

# part: http

# part: answer

# part: pause

# part: polls

# part: contact

# part: log

function Complete-OctowaitStep([string]$state, [string]$number) {
    Set-OctopusVariable -name "Octowait.State" -value $state
    Set-OctopusVariable -name "Octowait.FencingToken" -value $number
    Set-OctopusVariable -name "Octowait.WaitedSeconds" -value ([string][int][math]::Floor((Get-OctowaitElapsed)))
    exit 0
}

# A line at each change, else at most one a minute.
function Show-OctowaitWait([string]$key, [string]$text) {
    $isNew = $key -cne $octowait.shownKey
    if (-not $isNew -and ((Get-OctowaitElapsed) - $octowait.shownAt) -lt (60 / $octowaitTimeDivisor)) {
        return
    }
    $octowait.shownKey = $key
    $octowait.shownAt = Get-OctowaitElapsed
    Write-OctowaitWait $text
    Write-OctowaitProgress ($octowait.shownAt * 100 / $octowaitTimeoutSeconds) $text
}

function Write-OctowaitProgress([double]$percent, [string]$text) {
    if (Test-Path 'Function:\Update-Progress') {  # Octopus has it since 2019.7
        Update-Progress ([int][math]::Min(99.0, [math]::Floor($percent))) (Format-OctowaitText $text)
    }
}

# Seconds since the start at which it gives up.
function Get-OctowaitEnd {
    if ($octowait.hasAnswered) {
        return $octowaitTimeoutSeconds
    }
    return Get-OctowaitPatience
}

function Stop-OctowaitWaiting {
    if (-not $octowait.hasAnswered) {
        Stop-OctowaitUnanswered
    }
    $null = Invoke-Octowait 'DELETE' '?reason=time-out%20of%20the%20wait%20step' '' 5
    Stop-OctowaitStep "Gave up after $octowaitTimeoutMinutes min (Octowait.TimeoutMinutes). $($octowait.last)"
}

# 1. Check the parameters.
# part: common_parameters

$octowaitRedisUrl = Get-OctowaitParameter "Octowait.RedisUrl" "" $octowaitOneExpression
# part: line_parameters

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
# part: placement

if ($octowaitTarget -cne '') {
    Stop-OctowaitStep ("This step runs on the deployment target $octowaitTarget and would block the very deployment " +
        "it waits for: run it on a worker or on the Octopus Server, " +
        "or set OctopusBypassDeploymentMutex to True.")
}

# 3. No machines: nothing to wait for.
if ($octowaitMachines.Count -eq 0) {
    Write-OctowaitHighlight "This deployment has no machines: nothing to wait for."
    Complete-OctowaitStep 'no_machines' '0'
}

if ($octowaitRedisUrl -cne '') {
    $octowaitReason = 'not supported in PowerShell'
    Write-OctowaitWarning "Octowait.RedisUrl is not usable here ($octowaitReason): blocking over HTTP."
}

# 4. Say who we are.
# part: body

# 5. Join the line and block until granted.
$octowaitClock.Restart()  # what PowerShell took to start does not count
$octowait.shownKey = ''
$octowait.shownAt = 0.0
$octowaitHasAsked = $false
$octowaitHasPlace = $false  # it was given one at least once
$octowaitInLine = $false    # nothing has gone wrong since then
$octowaitKey = ''           # what was told last
$octowaitIsNews = $true     # it was something new

while ($true) {
    if ($octowaitHasAsked -and (Get-OctowaitElapsed) -ge (Get-OctowaitEnd)) {
        Stop-OctowaitWaiting
    }
    $octowaitHasAsked = $true

    $octowaitIsPoll = $octowaitInLine
    if ($octowaitIsPoll) {
        if (-not $octowaitIsNews) {
            Wait-OctowaitSecond
        }
        $octowaitBlock = Get-OctowaitBlock
        $octowaitAnswer = Invoke-OctowaitWait 'GET' "?block_seconds=$octowaitBlock" '' ($octowaitBlock + 20)
    }
    else {
        $octowaitAnswer = Invoke-OctowaitWait 'PUT' '' $octowaitBody 20
    }
    if ($octowaitAnswer.state -ceq 'granted') {
        $octowaitIsPoll = $false
        $octowaitAnswer = Confirm-OctowaitGrant $octowaitAnswer
    }

    switch -CaseSensitive ($octowaitAnswer.state) {
        'waiting' {
            if ($octowaitHasPlace -and $octowaitAnswer.isNew) {
                Write-OctowaitWait "The place in the line was lost: joined again at the end."
            }
            if ($octowaitIsPoll) {
                $octowait.failures = 0
                $octowait.refusals = 0
                Set-OctowaitLongerBlock
            }
            $octowaitHasPlace = $true
            $octowaitInLine = $true
            $octowait.last = $octowaitAnswer.message
            # What is expected changes with every look, and is no news by itself.
            $octowaitText = ($octowaitAnswer.message -csplit ' Expected ')[0] -creplace $octowaitDurationPattern, ''
            $octowaitToldKey = $octowaitKey
            $octowaitKey = "$($octowaitAnswer.number) $octowaitText"
            if ($octowaitAnswer.fields['news'] -cmatch '^[!-~]{1,200}\z') {
                $octowaitKey = $octowaitAnswer.fields['news']
            }
            $octowaitIsNews = $octowaitKey -cne $octowaitToldKey
            Show-OctowaitWait $octowaitKey $octowaitAnswer.message
        }
        'granted' {
            Write-OctowaitHighlight $octowaitAnswer.message
            Complete-OctowaitStep 'granted' $octowaitAnswer.number
        }
        { @('expired', 'unknown') -ccontains $_ } {
            Write-OctowaitWait "$($octowaitAnswer.message) Asking for a place again."
            $octowaitInLine = $false
            Wait-OctowaitPause 0 $octowaitTimeoutSeconds
        }
        { Test-OctowaitInterrupted $octowaitAnswer } {
            $octowaitInLine = $octowaitIsPoll -and (Test-OctowaitAskedAgain)
            if ($octowaitIsPoll -and -not $octowait.isRefused -and $_ -cne 'busy') {
                # Whether octowait is gone, or only a long call was cut, the next call tells.
                Set-OctowaitShorterBlock $octowaitAnswer.message
            }
            else {
                $octowait.last = "octowait did not answer ($($octowaitAnswer.message))."
                if (-not ($octowaitIsPoll -and (Test-OctowaitFirstRefusal))) {
                    Show-OctowaitWait 'interrupted' "$($octowait.last) Asking again until the time-out."
                }
            }
            Wait-OctowaitRetry $octowaitAnswer.retryAfter (Get-OctowaitEnd)
            # No other pause.
            $octowaitIsNews = $true
        }
        'timed_out' {
            Stop-OctowaitWaiting
        }
        default {
            Stop-OctowaitStep "octowait does not let this run wait: $($octowaitAnswer.message)"
        }
    }
}

}
