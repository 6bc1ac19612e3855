$pauseSeconds = 1.0
if ($env:OCTOWAIT_RETRY_BASE_SECONDS) {
    $pauseSeconds = [double]::Parse($env:OCTOWAIT_RETRY_BASE_SECONDS, [System.Globalization.CultureInfo]::InvariantCulture)
}
$script:failures = 0

function Get-Pause([double]$most) {
    # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
    $whole = $pauseSeconds * [math]::Min($most, [math]::Pow(2, [math]::Min(5, $script:failures)))
    return $whole * (Get-Random -Minimum 0.5 -Maximum 1.0)
}

function Wait-Pause([int]$retryAfter, [double]$until) {
    $seconds = [math]::Max((Get-Pause 30), $retryAfter)
    $seconds = [math]::Max(0.0, [math]::Min($seconds, $until - (Get-Elapsed)))
    Start-Sleep -Milliseconds ([int]($seconds * 1000))
}
