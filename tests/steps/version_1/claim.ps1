# claim.ps1: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.sh and claim.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# The functions of Octopus, such as Set-OctopusVariable, are there when Octopus runs the script.

$ErrorActionPreference = 'Stop'

# Older Windows PowerShell does not offer TLS 1.2 (3072) by itself; 0 means that the system decides.
$protocols = [int][System.Net.ServicePointManager]::SecurityProtocol
if ($protocols -ne 0) {
    [System.Net.ServicePointManager]::SecurityProtocol = $protocols -bor 3072
}
[System.Net.ServicePointManager]::Expect100Continue = $false

$giveUpSeconds = 60
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

function Stop-WithReason([string]$text) {
    [System.Console]::Error.WriteLine($text)
    Fail-Step $text
}

function Complete-Claim([string]$granted, [string]$state, [string]$number) {
    Set-OctopusVariable -name "Octowait.Granted" -value $granted
    Set-OctopusVariable -name "Octowait.State" -value $state
    Set-OctopusVariable -name "Octowait.FencingToken" -value $number
    exit 0
}

function Get-Elapsed {
    return $watch.Elapsed.TotalSeconds
}

function Get-NullIfEmpty([string]$text) {
    if ($text -eq '') {
        return $null
    }
    return $text
}

function Get-Named([string]$kind, [string]$nameVariable, [string]$label) {
    $id = Get-NullIfEmpty (Get-OctopusValue "$kind.Id")
    $name = Get-NullIfEmpty (Get-OctopusValue $nameVariable)
    if ($null -eq $id -and $null -eq $name) {
        return $null
    }
    return @{ 'id' = $id; $label = $name }
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

# One call. Besides octowait's states: interrupted, rejected (asking again is no use).
function Invoke-Octowait([string]$method, [string]$query, [string]$json, [int]$timeOut) {
    $answer = @{ state = 'interrupted'; number = '0'; message = ''; retryAfter = 0 }
    try {
        $request = [System.Net.WebRequest]::Create("$url/api/waits/$task$query")
        $request.Method = $method
        $request.AllowAutoRedirect = $false
        $request.Timeout = $timeOut * 1000
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
    if ($status -notin @(200, 201, 408, 429) -and $status -lt 500) {
        $answer.state = 'rejected'
    }
    $answer.message = "HTTP ${status}: $detail"
    return $answer
}

function Wait-Pause([int]$retryAfter) {
    # Between half and all of 1, 2, 4 ... 30 s, so that a crowd does not come back all at once.
    $whole = $pauseSeconds * [math]::Min(30.0, [math]::Pow(2, [math]::Min(5, $script:failures)))
    $seconds = [math]::Max($whole * (Get-Random -Minimum 0.5 -Maximum 1.0), $retryAfter)
    $seconds = [math]::Max(0.0, [math]::Min($seconds, $patience - (Get-Elapsed)))
    Start-Sleep -Milliseconds ([int]($seconds * 1000))
}

function Stop-Unanswered {
    $null = Invoke-Octowait 'DELETE' '?reason=unreachable%20for%20the%20claim%20step' '' 5
    $seconds = [int][math]::Floor((Get-Elapsed))
    $silence = "octowait at $url has not answered for $seconds s"
    if ($whenUnreachable -eq 'fail') {
        Stop-WithReason "$silence. $lastMessage"
    }
    $why = "as Octowait.WhenUnreachable says"
    Write-Warning "${silence}: going on WITHOUT waiting, $why. $lastMessage"
    Complete-Claim 'True' 'unreachable' '0'
}

$watch = [System.Diagnostics.Stopwatch]::StartNew()

# 1. Check the parameters.
$task = Get-OctopusValue "Octopus.Task.Id"
$url = (Get-StepParameter "Octowait.Url" "").TrimEnd('/')
$token = Get-StepParameter "Octowait.Token" ""
$timeoutMinutes = Get-StepParameter "Octowait.TimeoutMinutes" "120"
$priority = Get-StepParameter "Octowait.Priority" "0"
$onBehalfOf = Get-StepParameter "Octowait.OnBehalfOf" ""
$whenUnreachable = Get-StepParameter "Octowait.WhenUnreachable" "fail"
$machineList = Get-StepParameter "Octowait.Machines" (Get-OctopusValue "Octopus.Deployment.Machines")

$machines = @($machineList.Split(',') | ForEach-Object { $_.Trim() } | Where-Object { $_ -ne '' })
$timeoutSeconds = 0
if ($timeoutMinutes -match '^[0-9]{1,5}(\.[0-9]{1,3})?\z') {
    $minutes = [decimal]::Parse($timeoutMinutes, [System.Globalization.CultureInfo]::InvariantCulture)
    $timeoutSeconds = [int][math]::Floor($minutes * 60)
}

if ($task -notmatch $idPattern) {
    Add-Problem "Octopus.Task.Id" $task "an id such as ServerTasks-4711"
}
if ($url -notmatch $urlPattern) {
    Add-Problem "Octowait.Url" $url "an address such as https://octowait.example.com"
}
if ($token -notmatch '^[!-~]+\z') {
    Add-Problem "Octowait.Token" ($token -replace '(?s)^.+$', '***') "a token of the role step"
}
if ($timeoutSeconds -lt 1 -or $timeoutSeconds -gt 604800) {
    Add-Problem "Octowait.TimeoutMinutes" $timeoutMinutes "minutes above 0, at most 10080"
}
if ($priority -notmatch '^-?[0-9]{1,7}\z' -or [math]::Abs([int]$priority) -gt 1000000) {
    Add-Problem "Octowait.Priority" $priority "a whole number from -1000000 to 1000000"
}
if ($onBehalfOf -ne '' -and $onBehalfOf -notmatch $idPattern) {
    Add-Problem "Octowait.OnBehalfOf" $onBehalfOf "nothing, or an id such as ServerTasks-4711"
}
if ($whenUnreachable -cne 'fail' -and $whenUnreachable -cne 'proceed') {
    Add-Problem "Octowait.WhenUnreachable" $whenUnreachable "fail or proceed"
}
foreach ($machine in $machines) {
    if ($machine -notmatch $idPattern) {
        Add-Problem "Octowait.Machines" $machine "ids such as Machines-7, separated by commas"
    }
}
if ($script:problems.Count -gt 0) {
    Stop-WithReason (($script:problems -join '; ') + '.')
}

# 2. Not on a deployment target: there this script would wait for the mutex, in a task slot and in no line.
$target = Get-OctopusValue "Octopus.Machine.Id"
if ($target -ne '' -and (Get-OctopusValue "OctopusBypassDeploymentMutex") -ne 'True') {
    Stop-WithReason ("This step runs on the deployment target $target and would wait there for other scripts, " +
        "in a task slot and before it has a place in line: " +
        "run it on a worker or on the Octopus Server, " +
        "or set OctopusBypassDeploymentMutex to True.")
}

# 3. No machines: nothing to wait for.
if ($machines.Count -eq 0) {
    Write-Highlight "This deployment has no machines: nothing to wait for."
    Complete-Claim 'True' 'no_machines' '0'
}

# 4. Say who we are.
$server = (Get-OctopusValue "Octopus.Web.ServerUri").TrimEnd('/')
$link = Get-OctopusValue "Octopus.Web.DeploymentLink"
$address = $null
if ($server -match '^https?://' -and $link -ne '') {
    $address = "$server$link"
}
$body = ConvertTo-Json -Depth 4 -Compress -InputObject @{
    'space_id' = Get-NullIfEmpty (Get-OctopusValue "Octopus.Space.Id")
    'machines' = $machines
    'deployment_id' = Get-NullIfEmpty (Get-OctopusValue "Octopus.Deployment.Id")
    'runbook_run_id' = Get-NullIfEmpty (Get-OctopusValue "Octopus.RunbookRun.Id")
    'project' = Get-Named "Octopus.Project" "Octopus.Project.Name" "name"
    'environment' = Get-Named "Octopus.Environment" "Octopus.Environment.Name" "name"
    'release' = Get-Named "Octopus.Release" "Octopus.Release.Number" "version"
    'tenant' = Get-Named "Octopus.Deployment.Tenant" "Octopus.Deployment.Tenant.Name" "name"
    'url' = $address
    'priority' = [int]$priority
    'timeout_seconds' = $timeoutSeconds
    'on_behalf_of' = Get-NullIfEmpty $onBehalfOf
    'parked' = $true
}

# 5. Take a place in line and leave.
$patience = [math]::Min($timeoutSeconds, $giveUpSeconds)
$lastMessage = "octowait has not answered."
$script:failures = 0

while ($true) {
    if ((Get-Elapsed) -ge $patience) {
        Stop-Unanswered
    }

    $answer = Invoke-Octowait 'PUT' '' $body 20

    switch ($answer.state) {
        'waiting' {
            Write-Wait $answer.message
            Write-Highlight ("The manual intervention after this step pauses the deployment without a task slot, " +
                "until octowait resumes it or, after $timeoutMinutes min (Octowait.TimeoutMinutes), aborts it.")
            Complete-Claim 'False' 'waiting' '0'
        }
        'granted' {
            Write-Highlight $answer.message
            Complete-Claim 'True' 'granted' $answer.number
        }
        'interrupted' {
            $lastMessage = "octowait did not answer ($($answer.message))."
            Write-Wait "$lastMessage Asking again until $patience s have passed."
            Wait-Pause $answer.retryAfter
            $script:failures += 1
        }
        default {
            Stop-WithReason "octowait does not let this run wait: $($answer.message)"
        }
    }
}
