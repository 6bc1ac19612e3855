# Octopus takes commands from whatever a step prints. What others say must be none, and must not move in the log.
function Format-OctowaitText([string]$text) {
    # Windows PowerShell writes in the code page of the console, which turns fullwidth letters into plain ones.
    $encoding = [System.Console]::OutputEncoding
    $text = $encoding.GetString($encoding.GetBytes($text))
    $text = $text -creplace '[\x00-\x1F\x7F-\x9F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]', ' '
    if ($text.Length -gt 2000) {
        $text = $text.Substring(0, 2000) + ' ...'
    }
    return $text -creplace '#(?=#|\z)', '# '
}

function Write-OctowaitLine([string]$text) {
    Write-Host (Format-OctowaitText $text)
}

function Write-OctowaitWait([string]$text) {
    Write-Wait (Format-OctowaitText $text)
}

function Write-OctowaitHighlight([string]$text) {
    Write-Highlight (Format-OctowaitText $text)
}

function Write-OctowaitWarning([string]$text) {
    Write-Warning (Format-OctowaitText $text)
}
