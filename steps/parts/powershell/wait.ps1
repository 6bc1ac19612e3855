# wait.ps1: wait until this run may have all its machines to itself (steps/README.md).
# wait.sh and wait.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# The functions of Octopus, such as Set-OctopusVariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/powershell.

# part: start

$verb = 'wait'
$parked = $false
$blockSeconds = 25
$sayAgainSeconds = 30      # with blocking calls of 25 s and pauses of at most 30 s: a line a minute
$firstAnswerSeconds = 120  # under WhenUnreachable = proceed
$durationPattern = ' for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$'

# part: parameters

# part: http

# part: pause

# part: failure

function Complete-Step([string]$state, [string]$number) {
    Set-OctopusVariable -name "Octowait.State" -value $state
    Set-OctopusVariable -name "Octowait.FencingToken" -value $number
    Set-OctopusVariable -name "Octowait.WaitedSeconds" -value ([string][int][math]::Floor((Get-Elapsed)))
    exit 0
}

function Show-Wait([string]$key, [string]$text) {
    if ($key -eq $script:shownKey -and ((Get-Elapsed) - $script:shownAt) -lt $sayAgainSeconds) {
        return
    }
    $script:shownKey = $key
    $script:shownAt = Get-Elapsed
    Write-Wait $text
    Update-Progress ([int][math]::Min(99.0, [math]::Floor($script:shownAt * 100 / $timeoutSeconds))) $text
}

function Stop-Waiting {
    $null = Invoke-Octowait 'DELETE' '?reason=time-out%20of%20the%20wait%20step' '' 0 5
    Stop-WithReason "Gave up after $timeoutMinutes min (Octowait.TimeoutMinutes). $lastMessage"
}

# 1. Check the parameters.
# part: common_parameters

$redisUrl = Get-StepParameter "Octowait.RedisUrl" "" $oneExpression
# part: line_parameters

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
if ($target -ne '') {
    Stop-WithReason ("This step runs on the deployment target $target and would block the very deployment " +
        "it waits for: run it on a worker or on the Octopus Server, " +
        "or set OctopusBypassDeploymentMutex to True.")
}

# 3. No machines: nothing to wait for.
if ($machines.Count -eq 0) {
    Write-Highlight "This deployment has no machines: nothing to wait for."
    Complete-Step 'no_machines' '0'
}

if ($redisUrl -ne '') {
    $reason = 'not supported in PowerShell'
    Write-Warning "Octowait.RedisUrl is not usable here ($reason): blocking over HTTP."
}

# 4. Say who we are.
# part: body

# 5. Join the line and block until granted.
$patience = $timeoutSeconds
if ($whenUnreachable -eq 'proceed') {
    $patience = [math]::Min($timeoutSeconds, $firstAnswerSeconds)
}
$script:shownKey = ''
$script:shownAt = 0
$hasAnswered = $false  # it gave us a place at least once
$inLine = $false       # nothing has gone wrong since then

while ($true) {
    if (-not $hasAnswered -and (Get-Elapsed) -ge $patience) {
        Stop-Unanswered
    }
    if ((Get-Elapsed) -ge $timeoutSeconds) {
        Stop-Waiting
    }

    if ($inLine) {
        $block = [int][math]::Max(1.0, [math]::Min($blockSeconds, [math]::Ceiling($timeoutSeconds - (Get-Elapsed))))
        $answer = Invoke-Octowait 'GET' "?block_seconds=$block" '' $block 20
    }
    else {
        $answer = Invoke-Octowait 'PUT' '' $body 0 20
    }

    switch ($answer.state) {
        'waiting' {
            if ($hasAnswered -and $answer.isNew) {
                Write-Wait "The place in the line was lost: joined again at the end."
            }
            if ($inLine) {
                $script:failures = 0
            }
            $hasAnswered = $true
            $inLine = $true
            $lastMessage = $answer.message
            # What is expected changes with every look, and is no news by itself.
            $key = ($answer.message -csplit ' Expected ')[0] -replace $durationPattern, ''
            Show-Wait "$($answer.number) $key" $answer.message
        }
        'granted' {
            Write-Highlight $answer.message
            Complete-Step 'granted' $answer.number
        }
        { $_ -in @('expired', 'unknown') } {
            Write-Wait "$($answer.message) Asking for a place again."
            $inLine = $false
            Wait-Pause 0 $timeoutSeconds
            $script:failures += 1
        }
        'interrupted' {
            $lastMessage = "octowait did not answer ($($answer.message))."
            Show-Wait 'interrupted' "$lastMessage Asking again until the time-out."
            $inLine = $false
            $until = $timeoutSeconds
            if (-not $hasAnswered) {
                $until = $patience
            }
            Wait-Pause $answer.retryAfter $until
            $script:failures += 1
        }
        'timed_out' {
            Stop-Waiting
        }
        default {
            Stop-WithReason "octowait does not let this run wait: $($answer.message)"
        }
    }
}
