# release.ps1: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.sh and release.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.

$ErrorActionPreference = 'Stop'

# Older Windows PowerShell does not offer TLS 1.2 (3072) by itself; 0 means that the system decides.
$protocols = [int][System.Net.ServicePointManager]::SecurityProtocol
if ($protocols -ne 0) {
    [System.Net.ServicePointManager]::SecurityProtocol = $protocols -bor 3072
}
[System.Net.ServicePointManager]::Expect100Continue = $false

$giveUpSeconds = 20
$urlPattern = '^https?://[^\s"\\?{}#]+\z'
$idPattern = '^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}\z'
$pauseSeconds = 1.0
if ($env:OCTOWAIT_RETRY_BASE_SECONDS) {
    $pauseSeconds = [double]::Parse($env:OCTOWAIT_RETRY_BASE_SECONDS, [System.Globalization.CultureInfo]::InvariantCulture)
}

function Get-OctopusValue([string]$name) {
    return [string]$OctopusParameters[$name]
}

function Get-StepParameter([string]$name, [string]$default) {
    $value = (Get-OctopusValue $name).Trim()
    # Octopus leaves an expression that it cannot resolve as it stands.
    if ($value.StartsWith('#' + '{') -and $value.EndsWith('}')) {
        $value = ''
    }
    if ($value -eq '') {
        return $default
    }
    return $value
}

$script:problems = @()

function Add-Problem([string]$name, [string]$value, [string]$expected) {
    $script:problems += "$name is '$value': expected $expected"
}

function Complete-Unreleased([string]$text) {
    Write-Warning "$text octowait frees the machines when it learns that the task has ended."
    exit 0
}

function Get-Elapsed {
    return $watch.Elapsed.TotalSeconds
}

function Read-Response($response) {
    $reader = New-Object System.IO.StreamReader($response.GetResponseStream(), [System.Text.Encoding]::UTF8)
    try {
        return $reader.ReadToEnd()
    }
    finally {
        $reader.Dispose()
        $response.Dispose()
    }
}

# One DELETE: released, left, nothing, interrupted or rejected, and a message.
function Invoke-Octowait([string]$query, [int]$timeOut) {
    $answer = @{ outcome = 'interrupted'; message = '' }
    try {
        $request = [System.Net.WebRequest]::Create("$url/api/waits/$task$query")
        $request.Method = 'DELETE'
        $request.AllowAutoRedirect = $false
        $request.Timeout = $timeOut * 1000
        $request.ReadWriteTimeout = $request.Timeout
        $request.Accept = 'text/plain'
        $request.Headers.Add('Authorization', "Bearer $token")
        $response = $request.GetResponse()
        $status = [int]$response.StatusCode
        $text = Read-Response $response
    }
    catch {
        # An error status is an exception here, wrapped in one of PowerShell's.
        $failure = $_.Exception
        while ($failure.InnerException -and -not ($failure -is [System.Net.WebException])) {
            $failure = $failure.InnerException
        }
        $answer.message = $failure.Message
        if (-not ($failure -is [System.Net.WebException]) -or $null -eq $failure.Response) {
            return $answer
        }
        $status = [int]$failure.Response.StatusCode
        try {
            $text = Read-Response $failure.Response
        }
        catch {
            $text = ''
        }
    }
    if ($status -eq 200 -and $text -match '^(released|left|nothing) ') {
        $answer.outcome = $Matches[1]
        return $answer
    }
    $detail = "not an answer of octowait"
    try {
        $problem = ConvertFrom-Json $text
        if ($problem.detail) {
            $detail = $problem.detail
        }
    }
    catch {
        $problem = $null
    }
    if ($status -notin @(200, 408, 429) -and $status -lt 500) {
        $answer.outcome = 'rejected'
    }
    $answer.message = "HTTP ${status}: $detail"
    return $answer
}

$watch = [System.Diagnostics.Stopwatch]::StartNew()

# 1. Check the parameters.
$task = Get-OctopusValue "Octopus.Task.Id"
$url = (Get-StepParameter "Octowait.Url" "").TrimEnd('/')
$token = Get-StepParameter "Octowait.Token" ""
$machineList = Get-StepParameter "Octowait.Machines" (Get-OctopusValue "Octopus.Deployment.Machines")

if ($task -notmatch $idPattern) {
    Add-Problem "Octopus.Task.Id" $task "an id such as ServerTasks-4711"
}
if ($url -notmatch $urlPattern) {
    Add-Problem "Octowait.Url" $url "an address such as https://octowait.example.com"
}
if ($token -notmatch '^[!-~]+\z') {
    Add-Problem "Octowait.Token" ($token -replace '(?s)^.+$', '***') "a token of the role step"
}
if ($script:problems.Count -gt 0) {
    Complete-Unreleased ("Not released: " + ($script:problems -join '; ') + ".")
}

# 2. No machines: nothing was held.
if ($machineList -notmatch '[^,\s]') {
    Write-Highlight "This deployment has no machines: nothing to release."
    exit 0
}

# 3. Give them back.
$reason = '?reason=release%20step%2C%20no%20error%20in%20the%20deployment'
if ((Get-OctopusValue "Octopus.Deployment.Error") -ne '') {
    $reason = '?reason=release%20step%2C%20the%20deployment%20has%20an%20error'
}
$failures = 0

while ($true) {
    $answer = Invoke-Octowait $reason 5
    switch ($answer.outcome) {
        'released' {
            Write-Highlight "Released: $task has given its machines back."
            exit 0
        }
        'left' {
            Write-Highlight "Left: $task was still waiting and has left the line."
            exit 0
        }
        'nothing' {
            Write-Highlight "Nothing to release: $task holds no machines."
            exit 0
        }
        'rejected' {
            Complete-Unreleased "Not released: $($answer.message)."
        }
    }
    # Between half and all of 1, 2, 4 s, so that a crowd does not come back all at once.
    $seconds = $pauseSeconds * [math]::Min(4.0, [math]::Pow(2, $failures)) * (Get-Random -Minimum 0.5 -Maximum 1.0)
    $failures += 1
    if (((Get-Elapsed) + $seconds + 5) -gt $giveUpSeconds -or $failures -gt 5) {
        Complete-Unreleased "Not released: octowait at $url did not answer ($($answer.message))."
    }
    Start-Sleep -Milliseconds ([int]($seconds * 1000))
}
