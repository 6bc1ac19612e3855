$octowaitPauseSeconds = 1.0
if ($env:OCTOWAIT_RETRY_BASE_SECONDS) {
    $octowaitPauseSeconds = [double]::Parse($env:OCTOWAIT_RETRY_BASE_SECONDS, [System.Globalization.CultureInfo]::InvariantCulture)
}
$octowait.failures = 0

function Get-OctowaitPause([double]$most) {
    # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
    $whole = $octowaitPauseSeconds * [math]::Min($most, [math]::Pow(2, [math]::Min(5, $octowait.failures)))
    return $whole * (Get-Random -Minimum 0.5 -Maximum 1.0)
}

function Start-OctowaitSleep([double]$seconds) {
    if ($seconds -gt 0) {
        [System.Threading.Thread]::Sleep([int][math]::Ceiling($seconds * 1000))
    }
}

function Wait-OctowaitPause([int]$retryAfter, [double]$until) {
    $seconds = [math]::Max((Get-OctowaitPause 30), [math]::Min($retryAfter, 30 / $octowaitTimeDivisor))
    $octowait.failures += 1
    Start-OctowaitSleep ([math]::Min($seconds, $until - (Get-OctowaitElapsed)))
}
