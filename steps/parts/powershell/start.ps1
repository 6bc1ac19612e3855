$ErrorActionPreference = 'Stop'
# What a script module has set for everybody changes nothing of what this script does and says.
$WarningPreference = 'Continue'
$InformationPreference = 'Continue'
$PSDefaultParameterValues = @{}
Set-StrictMode -Off

if ($PSVersionTable.PSEdition -ceq 'Desktop') {  # Windows PowerShell does not load it by itself
    Add-Type -AssemblyName System.Net.Http
}
# Older Windows PowerShell does not offer TLS 1.2 (3072) by itself; 0 means that the system decides.
$octowaitProtocols = [int][System.Net.ServicePointManager]::SecurityProtocol
if ($octowaitProtocols -ne 0) {
    [System.Net.ServicePointManager]::SecurityProtocol = $octowaitProtocols -bor 3072
}

# What changes while this script runs; the functions below add to it.
$octowait = @{}
$octowaitClock = [System.Diagnostics.Stopwatch]::StartNew()

function Get-OctowaitElapsed {
    return $octowaitClock.Elapsed.TotalSeconds
}

# Tests divide the times of minutes by it.
$octowaitTimeDivisor = 1
if ($env:OCTOWAIT_TIME_DIVISOR -cmatch '^[1-9][0-9]{0,3}\z') {
    $octowaitTimeDivisor = [int]$env:OCTOWAIT_TIME_DIVISOR
}
