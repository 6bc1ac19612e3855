# An address that a client can ask, as an object with its parts; nothing for any other text.
function Get-OctowaitAddress([string]$text, [string]$pattern) {
    $address = $null
    if ($text -cnotmatch $pattern -or -not [System.Uri]::TryCreate($text, [System.UriKind]::Absolute, [ref]$address)) {
        return $null
    }
    if ($address.Port -lt 1) {
        return $null
    }
    return $address
}

$octowaitHostPattern = '([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])'
# In a path and in a user's name stands whatever can be printed, without blanks and those that are subtracted here.
$octowaitUrlPattern = "^[Hh][Tt][Tt][Pp][Ss]?://$octowaitHostPattern(:[0-9]{1,5})?(/[!-~-[\\`"?{}#@]]*)?\z"
$octowaitProxyPattern = "^[Hh][Tt][Tt][Pp]://([!-~-[\\`"?{}#@/]]+@)?${octowaitHostPattern}:[0-9]{1,5}/?\z"
