$lastMessage = "octowait has not answered."

function Stop-WithReason([string]$text) {
    [System.Console]::Error.WriteLine($text)
    Fail-Step $text
}

function Stop-Unanswered {
    $null = Invoke-Octowait 'DELETE' "?reason=unreachable%20for%20the%20$verb%20step" '' 0 5
    $seconds = [int][math]::Floor((Get-Elapsed))
    $silence = "octowait at $url has not answered for $seconds s"
    if ($whenUnreachable -eq 'fail') {
        Stop-WithReason "$silence. $lastMessage"
    }
    $why = "as Octowait.WhenUnreachable says"
    Write-Warning "${silence}: going on WITHOUT waiting, $why. $lastMessage"
    Complete-Step 'unreachable' '0'
}
