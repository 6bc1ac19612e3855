# A blocking call lasts 50 s. Where something on the way cuts such calls, shorter ones hear of a grant sooner.
$octowaitBlocks = @(50, 25, 12, 6)
$octowait.block = 0
$octowait.wholeBlocks = 0
$octowait.saidShorter = $false
$octowait.askedAt = 0.0

function Get-OctowaitBlock {
    $left = [math]::Ceiling($octowaitTimeoutSeconds - (Get-OctowaitElapsed))
    return [int][math]::Max(1.0, [math]::Min($octowaitBlocks[$octowait.block], $left))
}

function Set-OctowaitShorterBlock([string]$why) {
    $octowait.block = [math]::Min($octowait.block + 1, $octowaitBlocks.Count - 1)
    $octowait.wholeBlocks = 0
    if (-not $octowait.saidShorter) {
        $octowait.saidShorter = $true
        Write-OctowaitWait "A blocking call broke off ($why): asking in shorter ones from now on."
    }
}

function Set-OctowaitLongerBlock {
    $octowait.wholeBlocks += 1
    if ($octowait.wholeBlocks -ge 10) {
        $octowait.block = [math]::Max($octowait.block - 1, 0)
        $octowait.wholeBlocks = 0
    }
}

# Tries of a connection that is refused, before the pauses between them grow: a server that restarts is back in seconds, and
# to refuse one costs nobody anything.
$octowaitQuickTries = 12
$octowait.refusals = 0

# A poll that nobody heard is asked again as it was: the place is what it was. After longer it may be lost: join.
function Test-OctowaitAskedAgain {
    return $octowait.isRefused -and $octowait.refusals -lt $octowaitQuickTries
}

# Of which nothing is said: behind a balancer that has lost a backend each other poll is refused.
function Test-OctowaitFirstRefusal {
    return $octowait.isRefused -and $octowait.refusals -eq 0
}

function Wait-OctowaitRetry([int]$retryAfter, [double]$until) {
    $failures = $octowait.failures
    Wait-OctowaitPause $retryAfter $until
    if (Test-OctowaitAskedAgain) {
        $octowait.refusals += 1
        $octowait.failures = $failures
    }
}

# Something on the way may answer at once and for ever: not two calls within a second that tell nothing new.
function Wait-OctowaitSecond {
    Start-OctowaitSleep ($octowait.askedAt + 1 - (Get-OctowaitElapsed))
}
