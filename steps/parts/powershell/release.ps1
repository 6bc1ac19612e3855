#Requires -Version 5.1
# release.ps1: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.sh and release.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/powershell.

# All is in a scope of its own, so that no variable of a script module or a project stands in the way.
& {

# part: start

$octowaitVerb = 'release'
$octowaitGiveUpSeconds = 20

# part: text

# part: parameters

# part: address

# part: route

# part: http

# part: answer

# part: pause

function Complete-OctowaitStep([string]$text) {
    Write-OctowaitHighlight $text
    exit 0
}

function Stop-OctowaitUnreleased([string]$why) {
    Write-OctowaitWarning "Not released: $why octowait frees the machines when it learns that the task has ended."
    exit 0
}

# 1. Check the parameters.
# part: common_parameters

$octowait.claim = Get-OctowaitParameter "Octowait.Claim" "" $octowaitOneExpression
if ($octowait.claim -cne '' -and $octowait.claim -cnotmatch '^[A-Za-z0-9_-]{16,64}\z') {
    Add-OctowaitProblem "Octowait.Claim" $octowait.claim "nothing, or the output variable Octowait.Claim of the wait or claim step"
}
if ($octowait.problems.Count -gt 0) {
    Stop-OctowaitUnreleased (($octowait.problems -join '; ') + '.')
}

# 2. No machines: nothing was held.
if ($octowaitMachines.Count -eq 0) {
    Complete-OctowaitStep "This deployment has no machines: nothing to release."
}

# 3. Give them back. Which claim holds them is asked first, unless the parameter says it: no other may be ended.
$octowaitReason = '?reason=release%20step%2C%20no%20error%20in%20the%20deployment'
if ((Get-OctowaitVariable "Octopus.Deployment.Error") -cne '') {
    $octowaitReason = '?reason=release%20step%2C%20the%20deployment%20has%20an%20error'
}
$octowaitHasLooked = $octowait.claim -cne ''
$octowaitClock.Restart()  # what PowerShell took to start does not count

while ($true) {
    if ($octowaitHasLooked) {
        $octowaitAnswer = Invoke-Octowait 'DELETE' $octowaitReason '' 5
    }
    else {
        $octowaitAnswer = Invoke-Octowait 'GET' '?look=1' '' 5
        # 422: an octowait of before, which knows no claims.
        $octowaitIsOld = $octowaitAnswer.state -ceq 'rejected' -and $octowaitAnswer.status -eq 422
        if ($octowaitIsOld -or $octowaitStates -ccontains $octowaitAnswer.state) {
            $octowaitHasLooked = $true
            $octowait.claim = [string]$octowaitAnswer.fields['claim']
            continue
        }
    }

    switch -CaseSensitive ($octowaitAnswer.state) {
        'released' {
            Complete-OctowaitStep "Released: $octowaitTask has given its machines back."
        }
        'left' {
            Complete-OctowaitStep "Left: $octowaitTask was still waiting and has left the line."
        }
        { @('nothing', 'unknown') -ccontains $_ } {
            Complete-OctowaitStep "Nothing to release: $octowaitTask holds no machines."
        }
        { Test-OctowaitInterrupted $octowaitAnswer } {
            $octowaitSeconds = Get-OctowaitPause 4
            $octowait.failures += 1
            if (((Get-OctowaitElapsed) + $octowaitSeconds + 5) -gt $octowaitGiveUpSeconds -or $octowait.failures -gt 5) {
                Stop-OctowaitUnreleased "octowait at $octowaitUrl did not answer ($($octowaitAnswer.message))."
            }
            Start-OctowaitSleep $octowaitSeconds
        }
        default {
            Stop-OctowaitUnreleased "$($octowaitAnswer.message)."
        }
    }
}

}
