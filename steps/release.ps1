#Requires -Version 5.1
# release.ps1: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.sh and release.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/powershell.

# All is in a scope of its own, so that no variable of a script module or a project stands in the way.
& {

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

$octowaitVerb = 'release'
$octowaitGiveUpSeconds = 20

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

# Parameters come as variables of Octopus. What is wrong with them is collected and told in one go.
$octowaitIdPattern = '^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}\z'
$octowaitExpressionPattern = '#\{([^{}]*\})?'
$octowaitOneExpression = '^#\{[^{}]+\}\z'
$octowait.problems = @()

function Get-OctowaitVariable([string]$name) {
    return [string]$OctopusParameters[$name]
}

function Get-OctowaitParameter([string]$name, [string]$default, [string]$notSet = '^\z') {
    $value = (Get-OctowaitVariable $name).Trim()
    # Octopus leaves an expression that it cannot resolve as it stands.
    if ($value -cmatch $notSet) {
        return $default
    }
    foreach ($expression in [regex]::Matches($value, $octowaitExpressionPattern)) {
        $octowait.problems += "$name contains '$($expression.Value)', which Octopus did not resolve: expected a variable of that name in scope"
    }
    if ($value -ceq '') {
        return $default
    }
    return $value
}

function Add-OctowaitProblem([string]$name, [string]$value, [string]$expected) {
    if ($octowait.problems -clike "$name contains *") {
        return  # an unresolved expression says it all
    }
    $octowait.problems += "$name is '$value': expected $expected"
}

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

# The way to octowait: straight or through a proxy. Octopus gives PowerShell a proxy without exceptions, or none; so what
# counts is read here.
function Get-OctowaitEnvironment([string]$name) {
    foreach ($key in @($name.ToLowerInvariant(), $name)) {
        $value = [string][System.Environment]::GetEnvironmentVariable($key)
        if ($value -cne '') {
            return $value.Trim()
        }
    }
    return ''
}

# NO_PROXY: names with all below them, with or without a port; or everything.
function Test-OctowaitException($address) {
    $hostName = $address.DnsSafeHost.ToLowerInvariant()
    foreach ($entry in (Get-OctowaitEnvironment 'NO_PROXY').ToLowerInvariant() -csplit '[,\s]+') {
        $name = $entry.TrimStart('.')
        if ($name -ceq '*') {
            return $true
        }
        foreach ($target in @(".$hostName", ".${hostName}:$($address.Port)")) {
            if ($name -cne '' -and $target.EndsWith(".$name", [System.StringComparison]::Ordinal)) {
                return $true
            }
        }
    }
    return $false
}

# The parameter, else the environment as Octopus sets it for a worker with a proxy: an address, or nothing.
$octowait.noRoute = ''

function Find-OctowaitProxy([string]$named, $address) {
    $variable = "$($address.Scheme)_PROXY".ToUpperInvariant()
    if ($named -ceq '' -and $null -ne $address -and -not (Test-OctowaitException $address)) {
        $named = Get-OctowaitEnvironment $variable
    }
    if ($named -cmatch '^([Nn][Oo][Nn][Ee])?\z') {
        return $null
    }
    if ($named -cnotmatch '://') {
        $named = "http://$named"
    }
    foreach ($text in @($named, ($named.TrimEnd('/') + ':80'))) {
        $proxy = Get-OctowaitAddress $text $octowaitProxyPattern
        if ($null -ne $proxy) {
            return $proxy
        }
    }
    $octowait.noRoute = "$variable is '***': expected http://proxy.example.com:3128"
    return $null
}

function Get-OctowaitProxyName {
    return "http://$($octowaitProxy.Host):$($octowaitProxy.Port)"
}

function Get-OctowaitThrough {
    if ($null -eq $octowaitProxy) {
        return ''
    }
    $proxy = Get-OctowaitProxyName
    return ", through the proxy $proxy"
}

function Get-OctowaitProxyCredential {
    $user, $password = $octowaitProxy.UserInfo -csplit ':', 2
    if (-not $user) {
        return $null
    }
    $user = [System.Uri]::UnescapeDataString($user)
    return New-Object System.Net.NetworkCredential($user, [System.Uri]::UnescapeDataString([string]$password))
}

# One call of .NET: its status and text, or a reason and the kind of it. "silence": nobody was there; "heard": something
# was, but not octowait.
$octowait.peer = ''

function New-OctowaitFailure([string]$kind, [string]$reason) {
    $octowait.peer = ''
    return @{ kind = $kind; reason = $reason; status = 0; text = ''; retryAfter = 0 }
}

function New-OctowaitNameFailure($next, [string]$why) {
    if ($null -ne $octowaitProxy) {
        $proxy = Get-OctowaitProxyName
        return New-OctowaitFailure 'silence' "the name of the proxy $proxy does not resolve ($why)"
    }
    $remedy = "check Octowait.Url and the name servers of this worker"
    return New-OctowaitFailure 'silence' "the name $($next.Host) does not resolve ($why): $remedy"
}

function New-OctowaitConnectionFailure($next, [string]$why, [string]$socketError) {
    $octowait.isRefused = $socketError -ceq 'ConnectionRefused'
    $where = "$($next.Host):$($next.Port)"
    if ($null -ne $octowaitProxy) {
        $proxy = Get-OctowaitProxyName
        $where = "the proxy $proxy"
    }
    return New-OctowaitFailure 'silence' "no connection to $where ($why)"
}

function Get-OctowaitSocketError($innermost) {
    if ($innermost -is [System.Net.Sockets.SocketException]) {
        return [string]$innermost.SocketErrorCode
    }
    return ''
}

# The innermost exception says why; those around it say only that something failed.
function Get-OctowaitInnermost($failure) {
    while ($failure.InnerException) {
        $failure = $failure.InnerException
    }
    return $failure
}

# Whether a task of .NET ends before the deadline, in seconds since the start.
function Wait-OctowaitTask($task, [double]$deadline) {
    $milliseconds = [int][math]::Max(0.0, ($deadline - (Get-OctowaitElapsed)) * 1000)
    return [System.Threading.Tasks.Task]::WaitAny([System.Threading.Tasks.Task[]]@($task), $milliseconds) -eq 0
}

# A name may have several addresses, and .NET stays with the first, dead or not. This finds one that takes a connection,
# and keeps it until a call fails. Returns nothing, or a failure.
function Find-OctowaitPeer($next, [double]$deadline) {
    $lookup = [System.Net.Dns]::GetHostAddressesAsync($next.DnsSafeHost)
    if (-not (Wait-OctowaitTask $lookup $deadline)) {
        return New-OctowaitNameFailure $next 'timed out'
    }
    if ($lookup.IsFaulted) {
        return New-OctowaitNameFailure $next (Get-OctowaitInnermost $lookup.Exception).Message
    }
    $addresses = @($lookup.Result)
    if ($addresses.Count -eq 0) {
        return New-OctowaitConnectionFailure $next "it has no address" ''
    }
    $each = [math]::Min(10.0, ($deadline - (Get-OctowaitElapsed)) / ($addresses.Count + 1))
    $failed = @()
    $last = ''
    foreach ($address in $addresses) {
        $socket = New-Object System.Net.Sockets.TcpClient($address.AddressFamily)
        $connecting = $socket.ConnectAsync($address, $next.Port)
        $isInTime = Wait-OctowaitTask $connecting ((Get-OctowaitElapsed) + $each)
        $socket.Close()
        if ($isInTime -and -not $connecting.IsFaulted) {
            $octowait.peer = $next.Host
            if ($addresses.Count -gt 1) {
                $octowait.peer = [string]$address
            }
            return $null
        }
        $why = 'timed out'
        $last = ''
        if ($isInTime) {
            $innermost = Get-OctowaitInnermost $connecting.Exception
            $why = $innermost.Message
            $last = Get-OctowaitSocketError $innermost
        }
        if ($addresses.Count -gt 1) {
            $why = "${address}: $why"
        }
        $failed += $why
    }
    return New-OctowaitConnectionFailure $next ($failed -join ', ') $last
}

# What .NET could not do, in words and of a kind. PowerShell 7 and Windows PowerShell tell it by different exceptions.
function Get-OctowaitFailure($failure, $address, $next) {
    $through = Get-OctowaitThrough
    $innermost = Get-OctowaitInnermost $failure
    $why = $innermost.Message
    while ($failure.InnerException -and $failure -isnot [System.Net.WebException]) {
        $failure = $failure.InnerException
    }
    $webStatus = ''
    $tunnelStatus = 0
    if ($failure -is [System.Net.WebException]) {
        $webStatus = [string]$failure.Status
        if ($failure.Response) {
            $tunnelStatus = [int]$failure.Response.StatusCode
        }
    }
    if ($why -cmatch "proxy tunnel .* status code '([0-9]{3})'") {
        $tunnelStatus = [int]$Matches[1]
    }
    $socketError = Get-OctowaitSocketError $innermost
    $isTls = $innermost -is [System.Security.Authentication.AuthenticationException]

    if ($tunnelStatus -ne 0) {
        return @{ kind = ''; reason = ''; status = $tunnelStatus; text = ''; retryAfter = 0 }
    }
    if ($isTls -and ($webStatus -ceq 'TrustFailure' -or $why -cmatch 'certificate')) {
        $remedy = "if an authority of your own signed it, put the authority into this worker's store or SSL_CERT_FILE"
        return New-OctowaitFailure 'heard' "the certificate of $($address.Host) is not accepted: $why; $remedy$through"
    }
    if ($isTls -or $webStatus -ceq 'SecureChannelFailure') {
        return New-OctowaitFailure 'heard' "no TLS connection with $($address.Host) ($why)$through"
    }
    if ($webStatus -clike '*NameResolutionFailure' -or @('HostNotFound', 'NoData', 'TryAgain') -ccontains $socketError) {
        return New-OctowaitNameFailure $next $why
    }
    if ($socketError -cne '' -and @('ConnectionReset', 'ConnectionAborted', 'Shutdown') -cnotcontains $socketError) {
        return New-OctowaitConnectionFailure $next $why $socketError
    }
    if ($innermost -is [System.Net.Http.HttpRequestException] -or $webStatus -ceq 'ServerProtocolViolation') {
        return New-OctowaitFailure 'heard' "no HTTP answer ($why)$through"
    }
    return New-OctowaitFailure 'silence' "the answer broke off$through"
}

function New-OctowaitRequest([string]$method, $uri, [string]$json) {
    $request = New-Object System.Net.Http.HttpRequestMessage($method, $uri)
    $headers = @{
        'Accept' = 'text/plain'
        'Authorization' = "Bearer $octowaitToken"
        'User-Agent' = "octowait-$octowaitVerb/2 (powershell)"
        'X-Octowait-Version' = '2'
        'X-Octowait-Claim' = $octowait.claim
        'X-Octowait-Seen' = $octowait.seen
    }
    $credential = Get-OctowaitProxyCredential
    if ($credential -and $uri.Scheme -ceq 'http') {
        # .NET tells them only to a proxy that asks. Through a tunnel they would go to octowait.
        $bytes = [System.Text.Encoding]::UTF8.GetBytes("$($credential.UserName):$($credential.Password)")
        $headers['Proxy-Authorization'] = "Basic $([System.Convert]::ToBase64String($bytes))"
    }
    foreach ($name in $headers.Keys) {
        if ($headers[$name] -cne '') {
            $null = $request.Headers.TryAddWithoutValidation($name, [string]$headers[$name])
        }
    }
    # A call that breaks off is not repeated behind our back: Windows PowerShell does that on a connection that it kept,
    # PowerShell 7 with a call that has no content at all.
    $request.Headers.ConnectionClose = $true
    if ($json -cne '') {
        $request.Content = New-Object System.Net.Http.StringContent($json, [System.Text.Encoding]::UTF8, 'application/json')
    }
    elseif ($PSVersionTable.PSEdition -ceq 'Core') {
        $request.Content = New-Object System.Net.Http.StringContent('')
    }
    return $request
}

function New-OctowaitWebProxy($address) {
    $proxy = New-Object System.Net.WebProxy($address)
    $proxy.UseDefaultCredentials = $true  # of the worker, as Octopus does
    $credential = Get-OctowaitProxyCredential
    if ($credential) {
        $proxy.Credentials = $credential
    }
    return $proxy
}

# All of a call has one deadline: the name, connecting, the head and the body of the answer.
function Invoke-OctowaitCall([string]$method, [string]$query, [string]$json, [int]$seconds) {
    $octowait.isRefused = $false
    if ($octowait.noRoute -cne '') {
        return New-OctowaitFailure 'heard' $octowait.noRoute
    }
    $deadline = (Get-OctowaitElapsed) + $seconds
    $through = Get-OctowaitThrough
    $address = [System.Uri]"$octowaitUrl/api/waits/$octowaitTask$query"
    $next = $address
    if ($null -ne $octowaitProxy) {
        $next = $octowaitProxy
    }
    $handler = New-Object System.Net.Http.HttpClientHandler
    $handler.AllowAutoRedirect = $false  # the token is for this address only
    $handler.UseProxy = $null -ne $octowaitProxy
    $client = New-Object System.Net.Http.HttpClient($handler)
    try {
        if ($octowait.peer -ceq '') {
            $failure = Find-OctowaitPeer $next $deadline
            if ($failure) {
                return $failure
            }
        }
        $reached = (New-Object System.UriBuilder($next.Scheme, $octowait.peer, $next.Port)).Uri
        $target = New-Object System.Uri($reached, $address.PathAndQuery)
        if ($handler.UseProxy) {
            $handler.Proxy = New-OctowaitWebProxy $reached
            $target = $address
        }
        $request = New-OctowaitRequest $method $target $json
        $request.Headers.Host = $address.Authority
        $sending = $client.SendAsync($request, [System.Net.Http.HttpCompletionOption]::ResponseHeadersRead)
        if (-not (Wait-OctowaitTask $sending $deadline)) {
            return New-OctowaitFailure 'silence' "no whole answer within $seconds s$through"
        }
        if ($sending.IsFaulted) {
            return Get-OctowaitFailure $sending.Exception $address $next
        }
        $response = $sending.Result
        $result = @{ kind = ''; reason = ''; status = [int]$response.StatusCode; text = ''; retryAfter = 0 }
        $after = $response.Headers.RetryAfter
        if ($after -and $null -ne $after.Delta) {
            $result.retryAfter = [int][math]::Min(86400.0, $after.Delta.TotalSeconds)
        }
        $loading = $response.Content.LoadIntoBufferAsync(65536)
        if (-not (Wait-OctowaitTask $loading $deadline)) {
            return New-OctowaitFailure 'silence' "no whole answer within $seconds s$through"
        }
        if (-not $loading.IsFaulted) {
            $result.text = [System.Text.Encoding]::UTF8.GetString($response.Content.ReadAsByteArrayAsync().Result)
        }
        elseif ((Get-OctowaitInnermost $loading.Exception) -isnot [System.Net.Http.HttpRequestException]) {
            return Get-OctowaitFailure $loading.Exception $address $next
        }
        return $result  # without its text when that is longer than octowait's ever is
    }
    catch {
        return Get-OctowaitFailure $_.Exception $address $next
    }
    finally {
        $client.Dispose()
    }
}

# One question, and what came of it: a state of octowait's, or silence or heard (as above), busy or unknown (octowait
# could not say), token (401), rejected (asking again is no use).
$octowaitStates = @('waiting', 'granted', 'expired', 'left', 'refused', 'released', 'timed_out', 'nothing')
$octowaitStatePattern = "^($($octowaitStates -join '|')) ([0-9]{1,20})\r?\n"
$octowait.seen = ''
$octowait.knowsClaim = $false

function Read-OctowaitState($answer, [string]$text) {
    $null = $text -cmatch $octowaitStatePattern
    $answer.state = $Matches[1]
    $answer.number = $Matches[2]
    $answer.isNew = $answer.status -eq 201
    $lines = $text -csplit '\r?\n'
    $answer.message = $lines[1]
    if ($lines.Count -gt 3) {  # the third line is whole
        $words = $lines[2] -csplit ' '
        for ($index = 0; $index + 1 -lt $words.Count; $index += 2) {
            $answer.fields[$words[$index]] = $words[$index + 1]
        }
    }
    if ($answer.fields['seen'] -cmatch '^[!-~]{1,200}\z') {
        $octowait.seen = $answer.fields['seen']
    }
    if ($answer.fields['claim'] -and $answer.fields['claim'] -ceq $octowait.claim) {
        $octowait.knowsClaim = $true
    }
}

# A problem of octowait's has a code and says what is wrong; a page of somebody else is none.
function Get-OctowaitProblem([string]$text) {
    try {
        $problem = ConvertFrom-Json $text
    }
    catch {
        return $null
    }
    if ($text -cmatch '^\s*\{' -and $problem.code -cmatch '^[a-z][a-z0-9_]*\z' -and $problem.detail -is [string]) {
        return $problem
    }
    return $null
}

function Read-OctowaitProblem($answer, $problem, [string]$method) {
    $status = $answer.status
    $answer.message = "HTTP ${status}: $($problem.detail)"
    if ($status -in @(401, 403)) {
        $answer.message += " (see Octowait.Token: a release keeps the variables that it was made with)"
    }
    if ($status -in @(408, 429) -or $status -ge 500) {
        $answer.state = 'busy'
    }
    elseif ($status -eq 404 -and $method -ceq 'GET') {
        $answer.state = 'unknown'
    }
    elseif ($problem.code -ceq 'unknown_run') {
        $answer.state = 'busy'
    }
    elseif ($status -eq 401) {
        $answer.state = 'token'
    }
    else {
        $answer.state = 'rejected'
    }
}

function Read-OctowaitPage($answer, [string]$text) {
    $status = $answer.status
    $through = Get-OctowaitThrough
    $answer.state = 'heard'
    if ($status -in @(502, 503, 504)) {
        $answer.state = 'silence'
    }
    if ($status -eq 200 -and $text -cmatch '^[a-z_]+( [0-9]*)?\z') {
        $answer.state = 'silence'
        $answer.message = "the answer broke off" + $through
        return
    }
    if ($status -eq 407 -and $null -ne $octowaitProxy) {
        $remedy = "a user and a password for it can stand in Octowait.Proxy"
        $answer.message = "HTTP ${status}: not an answer of octowait$through; $remedy"
        return
    }
    $remedy = ''
    if ($status -ge 300 -and $status -lt 400) {
        $remedy = "; redirects are not followed, so Octowait.Url must be the address itself"
    }
    $answer.message = "HTTP ${status}: not an answer of octowait$remedy$through"
}

function Invoke-Octowait([string]$method, [string]$query, [string]$json, [int]$seconds) {
    $response = Invoke-OctowaitCall $method $query $json $seconds
    $answer = @{
        state = $response.kind
        message = $response.reason
        status = $response.status
        retryAfter = $response.retryAfter
        number = '0'
        isNew = $false
        fields = @{}
    }
    if ($response.kind -cne '') {
        return $answer
    }
    if ($response.status -in @(200, 201) -and $response.text -cmatch $octowaitStatePattern) {
        Read-OctowaitState $answer $response.text
        return $answer
    }
    $problem = $null
    if ($response.status -ge 400) {
        $problem = Get-OctowaitProblem $response.text
    }
    if ($problem) {
        Read-OctowaitProblem $answer $problem $method
    }
    else {
        Read-OctowaitPage $answer $response.text
    }
    return $answer
}

function Test-OctowaitInterrupted($answer) {
    return @('silence', 'heard', 'busy') -ccontains $answer.state
}

$octowaitPauseSeconds = 1.0
if ($env:OCTOWAIT_RETRY_BASE_SECONDS) {
    $octowaitPauseSeconds = [double]::Parse($env:OCTOWAIT_RETRY_BASE_SECONDS, [System.Globalization.CultureInfo]::InvariantCulture)
}
$octowait.failures = 0

function Get-OctowaitPause([double]$most) {
    # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
    $whole = $octowaitPauseSeconds * [math]::Min($most, [math]::Pow(2, [math]::Min(5, $octowait.failures)))
    return $whole * (Get-Random -Minimum 0.5 -Maximum 1.0)
}

function Start-OctowaitSleep([double]$seconds) {
    if ($seconds -gt 0) {
        [System.Threading.Thread]::Sleep([int][math]::Ceiling($seconds * 1000))
    }
}

function Wait-OctowaitPause([int]$retryAfter, [double]$until) {
    $seconds = [math]::Max((Get-OctowaitPause 30), [math]::Min($retryAfter, 30 / $octowaitTimeDivisor))
    $octowait.failures += 1
    Start-OctowaitSleep ([math]::Min($seconds, $until - (Get-OctowaitElapsed)))
}

function Complete-OctowaitStep([string]$text) {
    Write-OctowaitHighlight $text
    exit 0
}

function Stop-OctowaitUnreleased([string]$why) {
    Write-OctowaitWarning "Not released: $why octowait frees the machines when it learns that the task has ended."
    exit 0
}

# 1. Check the parameters.
$octowaitTask = Get-OctowaitVariable "Octopus.Task.Id"
$octowaitUrl = (Get-OctowaitParameter "Octowait.Url" "").TrimEnd('/')
$octowaitToken = Get-OctowaitParameter "Octowait.Token" ""
$octowaitProxyParameter = Get-OctowaitParameter "Octowait.Proxy" "" $octowaitOneExpression
$octowaitOwnMachines = '^([,;\s]*|#\{Octopus\.Deployment\.Machines\})\z'
$octowaitMachineList = Get-OctowaitParameter "Octowait.Machines" (Get-OctowaitVariable "Octopus.Deployment.Machines") $octowaitOwnMachines
$octowaitMachines = [string[]]@($octowaitMachineList -csplit '[,;\r\n]' | ForEach-Object { $_.Trim() } | Where-Object { $_ -cne '' })

if ($octowaitTask -cnotmatch $octowaitIdPattern) {
    Add-OctowaitProblem "Octopus.Task.Id" $octowaitTask "an id such as ServerTasks-4711"
}
$octowaitAddress = Get-OctowaitAddress $octowaitUrl $octowaitUrlPattern
if ($octowaitUrl -cmatch '@') {
    $octowait.problems += "Octowait.Url has a user or a password in it: expected an address such as https://octowait.example.com"
}
elseif ($null -eq $octowaitAddress) {
    Add-OctowaitProblem "Octowait.Url" $octowaitUrl "an address such as https://octowait.example.com"
}
if ($octowaitToken -cnotmatch '^[!-~]+\z') {
    Add-OctowaitProblem "Octowait.Token" ($octowaitToken -creplace '(?s)^.+$', '***') "a token of the role step"
}
if ($octowaitProxyParameter -cnotmatch '^([Nn][Oo][Nn][Ee])?\z' -and $null -eq (Get-OctowaitAddress $octowaitProxyParameter $octowaitProxyPattern)) {
    Add-OctowaitProblem "Octowait.Proxy" '***' "nothing, none, or an address with a port such as http://proxy.example.com:3128"
}
$octowaitProxy = Find-OctowaitProxy $octowaitProxyParameter $octowaitAddress

$octowait.claim = Get-OctowaitParameter "Octowait.Claim" "" $octowaitOneExpression
if ($octowait.claim -cne '' -and $octowait.claim -cnotmatch '^[A-Za-z0-9_-]{16,64}\z') {
    Add-OctowaitProblem "Octowait.Claim" $octowait.claim "nothing, or the output variable Octowait.Claim of the wait or claim step"
}
if ($octowait.problems.Count -gt 0) {
    Stop-OctowaitUnreleased (($octowait.problems -join '; ') + '.')
}

# 2. No machines: nothing was held.
if ($octowaitMachines.Count -eq 0) {
    Complete-OctowaitStep "This deployment has no machines: nothing to release."
}

# 3. Give them back. Which claim holds them is asked first, unless the parameter says it: no other may be ended.
$octowaitReason = '?reason=release%20step%2C%20no%20error%20in%20the%20deployment'
if ((Get-OctowaitVariable "Octopus.Deployment.Error") -cne '') {
    $octowaitReason = '?reason=release%20step%2C%20the%20deployment%20has%20an%20error'
}
$octowaitHasLooked = $octowait.claim -cne ''
$octowaitClock.Restart()  # what PowerShell took to start does not count

while ($true) {
    if ($octowaitHasLooked) {
        $octowaitAnswer = Invoke-Octowait 'DELETE' $octowaitReason '' 5
    }
    else {
        $octowaitAnswer = Invoke-Octowait 'GET' '?look=1' '' 5
        # 422: an octowait of before, which knows no claims.
        $octowaitIsOld = $octowaitAnswer.state -ceq 'rejected' -and $octowaitAnswer.status -eq 422
        if ($octowaitIsOld -or $octowaitStates -ccontains $octowaitAnswer.state) {
            $octowaitHasLooked = $true
            $octowait.claim = [string]$octowaitAnswer.fields['claim']
            continue
        }
    }

    switch -CaseSensitive ($octowaitAnswer.state) {
        'released' {
            Complete-OctowaitStep "Released: $octowaitTask has given its machines back."
        }
        'left' {
            Complete-OctowaitStep "Left: $octowaitTask was still waiting and has left the line."
        }
        { @('nothing', 'unknown') -ccontains $_ } {
            Complete-OctowaitStep "Nothing to release: $octowaitTask holds no machines."
        }
        { Test-OctowaitInterrupted $octowaitAnswer } {
            $octowaitSeconds = Get-OctowaitPause 4
            $octowait.failures += 1
            if (((Get-OctowaitElapsed) + $octowaitSeconds + 5) -gt $octowaitGiveUpSeconds -or $octowait.failures -gt 5) {
                Stop-OctowaitUnreleased "octowait at $octowaitUrl did not answer ($($octowaitAnswer.message))."
            }
            Start-OctowaitSleep $octowaitSeconds
        }
        default {
            Stop-OctowaitUnreleased "$($octowaitAnswer.message)."
        }
    }
}

}
