$ErrorActionPreference = 'Stop'

# Older Windows PowerShell does not offer TLS 1.2 (3072) by itself; 0 means that the system decides.
$protocols = [int][System.Net.ServicePointManager]::SecurityProtocol
if ($protocols -ne 0) {
    [System.Net.ServicePointManager]::SecurityProtocol = $protocols -bor 3072
}
[System.Net.ServicePointManager]::Expect100Continue = $false

$watch = [System.Diagnostics.Stopwatch]::StartNew()

function Get-Elapsed {
    return $watch.Elapsed.TotalSeconds
}
