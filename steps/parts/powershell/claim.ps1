# claim.ps1: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.sh and claim.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# The functions of Octopus, such as Set-OctopusVariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/powershell.

# part: start

$verb = 'claim'
$parked = $true
$giveUpSeconds = 60

# part: parameters

# part: http

# part: pause

# part: failure

function Complete-Step([string]$state, [string]$number) {
    Set-OctopusVariable -name "Octowait.Granted" -value ([string]($state -ne 'waiting'))
    Set-OctopusVariable -name "Octowait.State" -value $state
    Set-OctopusVariable -name "Octowait.FencingToken" -value $number
    exit 0
}

# 1. Check the parameters.
# part: common_parameters

# part: line_parameters

# 2. Not on a deployment target: there this script would wait for the mutex, in a task slot and in no line.
if ($target -ne '') {
    Stop-WithReason ("This step runs on the deployment target $target and would wait there for other scripts, " +
        "in a task slot and before it has a place in line: " +
        "run it on a worker or on the Octopus Server, " +
        "or set OctopusBypassDeploymentMutex to True.")
}

# 3. No machines: nothing to wait for.
if ($machines.Count -eq 0) {
    Write-Highlight "This deployment has no machines: nothing to wait for."
    Complete-Step 'no_machines' '0'
}

# 4. Say who we are.
# part: body

# 5. Take a place in line and leave.
$patience = [math]::Min($timeoutSeconds, $giveUpSeconds)

while ($true) {
    if ((Get-Elapsed) -ge $patience) {
        Stop-Unanswered
    }

    $answer = Invoke-Octowait 'PUT' '' $body 0 20

    switch ($answer.state) {
        'waiting' {
            Write-Wait $answer.message
            Write-Highlight ("The manual intervention after this step pauses the deployment without a task slot, " +
                "until octowait resumes it or, after $timeoutMinutes min (Octowait.TimeoutMinutes), aborts it.")
            Complete-Step 'waiting' '0'
        }
        'granted' {
            Write-Highlight $answer.message
            Complete-Step 'granted' $answer.number
        }
        'interrupted' {
            $lastMessage = "octowait did not answer ($($answer.message))."
            Write-Wait "$lastMessage Asking again until $patience s have passed."
            Wait-Pause $answer.retryAfter $patience
            $script:failures += 1
        }
        default {
            Stop-WithReason "octowait does not let this run wait: $($answer.message)"
        }
    }
}
