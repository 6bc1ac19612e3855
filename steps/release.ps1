# release.ps1: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.sh and release.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/powershell.

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

$giveUpSeconds = 20

# Parameters come as variables of Octopus. What is wrong with them is collected and told in one go.
$idPattern = '^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}\z'
$expressionPattern = '#\{([^{}]*\})?'
$oneExpression = '^#\{[^{}]+\}\z'
$script:problems = @()

function Get-OctopusValue([string]$name) {
    return [string]$OctopusParameters[$name]
}

function Get-StepParameter([string]$name, [string]$default, [string]$notSet = '^\z') {
    $value = (Get-OctopusValue $name).Trim()
    # Octopus leaves an expression that it cannot resolve as it stands.
    if ($value -cmatch $notSet) {
        return $default
    }
    foreach ($expression in [regex]::Matches($value, $expressionPattern)) {
        $script:problems += "$name contains '$($expression.Value)', which Octopus did not resolve: expected a variable of that name in scope"
    }
    if ($value -eq '') {
        return $default
    }
    return $value
}

function Add-Problem([string]$name, [string]$value, [string]$expected) {
    if ($script:problems -clike "$name contains *") {
        return  # an unresolved expression says it all
    }
    $script:problems += "$name is '$value': expected $expected"
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

# One call. Besides octowait's states: unknown, interrupted, rejected (asking again is no use).
function Invoke-Octowait([string]$method, [string]$query, [string]$json, [int]$block, [int]$timeOut) {
    $answer = @{ state = 'interrupted'; number = '0'; message = ''; isNew = $false; retryAfter = 0 }
    try {
        $request = [System.Net.WebRequest]::Create("$url/api/waits/$task$query")
        $request.Method = $method
        $request.AllowAutoRedirect = $false
        $request.Timeout = ($block + $timeOut) * 1000
        $request.ReadWriteTimeout = $request.Timeout
        $request.Accept = 'text/plain'
        $request.Headers.Add('Authorization', "Bearer $token")
        if ($json -ne '') {
            $bytes = [System.Text.Encoding]::UTF8.GetBytes($json)
            $request.ContentType = 'application/json; charset=utf-8'
            $request.ContentLength = $bytes.Length
            $stream = $request.GetRequestStream()
            $stream.Write($bytes, 0, $bytes.Length)
            $stream.Dispose()
        }
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
        $after = [string]$failure.Response.Headers['Retry-After']
        if ($after -match '^[0-9]{1,4}\z') {
            $answer.retryAfter = [int]$after
        }
        try {
            $text = Read-Response $failure.Response
        }
        catch {
            $text = ''
        }
    }
    $lines = $text -split "\r?\n"
    if (($status -eq 200 -or $status -eq 201) -and $lines[0] -match '^([a-z_]+) ([0-9]+)\z') {
        $answer.state = $Matches[1]
        $answer.number = $Matches[2]
        $answer.isNew = $status -eq 201
        $answer.message = [string]$lines[1]
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
    if ($status -in @(200, 201, 408, 429) -or $status -ge 500) {
        $answer.state = 'interrupted'
    }
    elseif ($status -eq 404 -and $method -eq 'GET') {
        $answer.state = 'unknown'
    }
    else {
        $answer.state = 'rejected'
    }
    $answer.message = "HTTP ${status}: $detail"
    return $answer
}

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

function Complete-Step([string]$text) {
    Write-Highlight $text
    exit 0
}

function Stop-Unreleased([string]$why) {
    Write-Warning "Not released: $why octowait frees the machines when it learns that the task has ended."
    exit 0
}

# 1. Check the parameters.
$task = Get-OctopusValue "Octopus.Task.Id"
$url = (Get-StepParameter "Octowait.Url" "").TrimEnd('/')
$token = Get-StepParameter "Octowait.Token" ""
$ownMachines = '^([,\s]*|#\{Octopus\.Deployment\.Machines\})\z'
$machineList = Get-StepParameter "Octowait.Machines" (Get-OctopusValue "Octopus.Deployment.Machines") $ownMachines

if ($task -notmatch $idPattern) {
    Add-Problem "Octopus.Task.Id" $task "an id such as ServerTasks-4711"
}
if ($url -notmatch '^https?://[^\s"\\?{}#]+\z') {
    Add-Problem "Octowait.Url" $url "an address such as https://octowait.example.com"
}
if ($token -notmatch '^[!-~]+\z') {
    Add-Problem "Octowait.Token" ($token -replace '(?s)^.+$', '***') "a token of the role step"
}

if ($script:problems.Count -gt 0) {
    Stop-Unreleased (($script:problems -join '; ') + '.')
}

# 2. No machines: nothing was held.
if ($machineList -notmatch '[^,\s]') {
    Complete-Step "This deployment has no machines: nothing to release."
}

# 3. Give them back.
$reason = '?reason=release%20step%2C%20no%20error%20in%20the%20deployment'
if ((Get-OctopusValue "Octopus.Deployment.Error") -ne '') {
    $reason = '?reason=release%20step%2C%20the%20deployment%20has%20an%20error'
}

while ($true) {
    $answer = Invoke-Octowait 'DELETE' $reason '' 0 5

    switch ($answer.state) {
        'released' {
            Complete-Step "Released: $task has given its machines back."
        }
        'left' {
            Complete-Step "Left: $task was still waiting and has left the line."
        }
        'nothing' {
            Complete-Step "Nothing to release: $task holds no machines."
        }
        'interrupted' {
            $seconds = Get-Pause 4
            $script:failures += 1
            if (((Get-Elapsed) + $seconds + 5) -gt $giveUpSeconds -or $script:failures -gt 5) {
                Stop-Unreleased "octowait at $url did not answer ($($answer.message))."
            }
            Start-Sleep -Milliseconds ([int]($seconds * 1000))
        }
        default {
            Stop-Unreleased "$($answer.message)."
        }
    }
}
