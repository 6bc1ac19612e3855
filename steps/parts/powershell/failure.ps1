function Stop-OctowaitStep([string]$text) {
    $text = Format-OctowaitText $text
    [System.Console]::Error.WriteLine($text)
    Fail-Step $text
    exit 1  # a script module may have put a Fail-Step in place that only logs
}
