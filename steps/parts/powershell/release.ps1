# release.ps1: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.sh and release.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/powershell.

# part: start

$giveUpSeconds = 20

# part: parameters

# part: http

# part: pause

function Complete-Step([string]$text) {
    Write-Highlight $text
    exit 0
}

function Stop-Unreleased([string]$why) {
    Write-Warning "Not released: $why octowait frees the machines when it learns that the task has ended."
    exit 0
}

# 1. Check the parameters.
# part: common_parameters

if ($script:problems.Count -gt 0) {
    Stop-Unreleased (($script:problems -join '; ') + '.')
}

# 2. No machines: nothing was held.
if ($machineList -notmatch '[^,\s]') {
    Complete-Step "This deployment has no machines: nothing to release."
}

# 3. Give them back.
$reason = '?reason=release%20step%2C%20no%20error%20in%20the%20deployment'
if ((Get-OctopusValue "Octopus.Deployment.Error") -ne '') {
    $reason = '?reason=release%20step%2C%20the%20deployment%20has%20an%20error'
}

while ($true) {
    $answer = Invoke-Octowait 'DELETE' $reason '' 0 5

    switch ($answer.state) {
        'released' {
            Complete-Step "Released: $task has given its machines back."
        }
        'left' {
            Complete-Step "Left: $task was still waiting and has left the line."
        }
        'nothing' {
            Complete-Step "Nothing to release: $task holds no machines."
        }
        'interrupted' {
            $seconds = Get-Pause 4
            $script:failures += 1
            if (((Get-Elapsed) + $seconds + 5) -gt $giveUpSeconds -or $script:failures -gt 5) {
                Stop-Unreleased "octowait at $url did not answer ($($answer.message))."
            }
            Start-Sleep -Milliseconds ([int]($seconds * 1000))
        }
        default {
            Stop-Unreleased "$($answer.message)."
        }
    }
}
