# Whether octowait has answered yet, what else has until then, and when that is enough.
$octowait.hasAnswered = $false
$octowait.heard = ''
$octowait.tokenRefusedAt = -1.0
$octowait.last = "octowait has not answered."

function Update-OctowaitContact($answer) {
    if ($answer.state -ceq 'heard') {
        $octowait.heard = $answer.message
    }
    if (@('silence', 'heard') -ccontains $answer.state) {
        return
    }
    $isTokenRefused = $answer.state -ceq 'token'
    if (-not $isTokenRefused) {
        $octowait.tokenRefusedAt = -1.0
    }
    elseif ($octowait.tokenRefusedAt -lt 0) {
        $octowait.tokenRefusedAt = Get-OctowaitElapsed
    }
    # Tokens are exchanged while octowait runs: one that was good before is refused for good only after a minute.
    if ($isTokenRefused -and $octowait.hasAnswered -and ((Get-OctowaitElapsed) - $octowait.tokenRefusedAt) -lt (60 / $octowaitTimeDivisor)) {
        $answer.state = 'busy'
    }
    elseif ($isTokenRefused) {
        $answer.state = 'rejected'
    }
    $octowait.hasAnswered = $true
}

# A call of a run that waits, and what is kept of its answer.
function Invoke-OctowaitWait([string]$method, [string]$query, [string]$json, [int]$seconds) {
    $octowait.askedAt = Get-OctowaitElapsed
    $answer = Invoke-Octowait $method $query $json $seconds
    Update-OctowaitContact $answer
    Write-OctowaitFields $answer
    return $answer
}

# A grant may be read long after it was sent: it counts only once it is told again to a call made after that.
function Confirm-OctowaitGrant($answer) {
    if (-not $octowait.knowsClaim) {
        return $answer
    }
    $again = Invoke-OctowaitWait 'GET' '?block_seconds=0' '' 20
    if (@('silence', 'heard') -ccontains $again.state) {
        $again = Invoke-OctowaitWait 'GET' '?block_seconds=0' '' 20
    }
    return $again
}

# Seconds that it asks without having reached octowait.
function Get-OctowaitPatience {
    if ($octowaitWhenUnreachable -ceq 'proceed' -and $octowait.heard -ceq '') {
        return [math]::Min($octowaitTimeoutSeconds, 120 / $octowaitTimeDivisor)
    }
    return [math]::Min($octowaitTimeoutSeconds, $octowaitFirstContactSeconds / $octowaitTimeDivisor)
}

function Stop-OctowaitUnanswered {
    $seconds = [int][math]::Floor((Get-OctowaitElapsed))
    $null = Invoke-Octowait 'DELETE' "?reason=unreachable%20for%20the%20$octowaitVerb%20step" '' 5
    $silence = "octowait at $octowaitUrl has not answered for $seconds s"
    if ($octowaitWhenUnreachable -ceq 'fail') {
        Stop-OctowaitStep "$silence. $($octowait.last)"
    }
    if ($octowait.heard -cne '') {
        $other = "octowait did not answer ($($octowait.heard))."
        Stop-OctowaitStep "$silence, but something else did: not going on without waiting. $other"
    }
    $why = "as Octowait.WhenUnreachable says"
    Write-OctowaitWarning "${silence}: going on WITHOUT waiting, $why. $($octowait.last)"
    Complete-OctowaitStep 'unreachable' '0'
}
