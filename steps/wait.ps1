#Requires -Version 5.1
# wait.ps1: wait until this run may have all its machines to itself (steps/README.md).
# wait.sh and wait.py do the same in the same order. Windows PowerShell 5.1 or PowerShell 7.
# The functions of Octopus, such as Set-OctopusVariable, are there when Octopus runs the script.
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

$octowaitVerb = 'wait'
$octowaitParked = $false
$octowaitFirstContactSeconds = 300
$octowaitDurationPattern = ' for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$'

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

function Stop-OctowaitStep([string]$text) {
    $text = Format-OctowaitText $text
    [System.Console]::Error.WriteLine($text)
    Fail-Step $text
    exit 1  # a script module may have put a Fail-Step in place that only logs
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

# This execution of the script, as octowait knows it: a late request of another one ends and takes nothing of it.
$octowaitBytes = New-Object byte[] 16
$octowaitRandom = [System.Security.Cryptography.RandomNumberGenerator]::Create()
$octowaitRandom.GetBytes($octowaitBytes)
$octowait.claim = [System.BitConverter]::ToString($octowaitBytes).Replace('-', '').ToLowerInvariant()

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

# A blocking call lasts 50 s. Where something on the way cuts such calls, shorter ones hear of a grant sooner.
$octowaitBlocks = @(50, 25, 12, 6)
$octowait.block = 0
$octowait.wholeBlocks = 0
$octowait.saidShorter = $false
$octowait.askedAt = 0.0

function Get-OctowaitBlock {
    $left = [math]::Ceiling($octowaitTimeoutSeconds - (Get-OctowaitElapsed))
    return [int][math]::Max(1.0, [math]::Min($octowaitBlocks[$octowait.block], $left))
}

function Set-OctowaitShorterBlock([string]$why) {
    $octowait.block = [math]::Min($octowait.block + 1, $octowaitBlocks.Count - 1)
    $octowait.wholeBlocks = 0
    if (-not $octowait.saidShorter) {
        $octowait.saidShorter = $true
        Write-OctowaitWait "A blocking call broke off ($why): asking in shorter ones from now on."
    }
}

function Set-OctowaitLongerBlock {
    $octowait.wholeBlocks += 1
    if ($octowait.wholeBlocks -ge 10) {
        $octowait.block = [math]::Max($octowait.block - 1, 0)
        $octowait.wholeBlocks = 0
    }
}

# Tries of a connection that is refused, before the pauses between them grow: a server that restarts is back in seconds, and
# to refuse one costs nobody anything.
$octowaitQuickTries = 12
$octowait.refusals = 0

# A poll that nobody heard is asked again as it was: the place is what it was. After longer it may be lost: join.
function Test-OctowaitAskedAgain {
    return $octowait.isRefused -and $octowait.refusals -lt $octowaitQuickTries
}

# Of which nothing is said: behind a balancer that has lost a backend each other poll is refused.
function Test-OctowaitFirstRefusal {
    return $octowait.isRefused -and $octowait.refusals -eq 0
}

function Wait-OctowaitRetry([int]$retryAfter, [double]$until) {
    $failures = $octowait.failures
    Wait-OctowaitPause $retryAfter $until
    if (Test-OctowaitAskedAgain) {
        $octowait.refusals += 1
        $octowait.failures = $failures
    }
}

# Something on the way may answer at once and for ever: not two calls within a second that tell nothing new.
function Wait-OctowaitSecond {
    Start-OctowaitSleep ($octowait.askedAt + 1 - (Get-OctowaitElapsed))
}

# Whether octowait has answered yet, what else has until then, and when that is enough.
$octowait.hasAnswered = $false
$octowait.heard = ''
$octowait.tokenRefusedAt = -1.0
$octowait.last = "octowait has not answered."

function Update-OctowaitContact($answer) {
    if ($answer.state -ceq 'heard') {
        $octowait.heard = $answer.message
    }
    if (@('silence', 'heard') -ccontains $answer.state) {
        return
    }
    $isTokenRefused = $answer.state -ceq 'token'
    if (-not $isTokenRefused) {
        $octowait.tokenRefusedAt = -1.0
    }
    elseif ($octowait.tokenRefusedAt -lt 0) {
        $octowait.tokenRefusedAt = Get-OctowaitElapsed
    }
    # Tokens are exchanged while octowait runs: one that was good before is refused for good only after a minute.
    if ($isTokenRefused -and $octowait.hasAnswered -and ((Get-OctowaitElapsed) - $octowait.tokenRefusedAt) -lt (60 / $octowaitTimeDivisor)) {
        $answer.state = 'busy'
    }
    elseif ($isTokenRefused) {
        $answer.state = 'rejected'
    }
    $octowait.hasAnswered = $true
}

# A call of a run that waits, and what is kept of its answer.
function Invoke-OctowaitWait([string]$method, [string]$query, [string]$json, [int]$seconds) {
    $octowait.askedAt = Get-OctowaitElapsed
    $answer = Invoke-Octowait $method $query $json $seconds
    Update-OctowaitContact $answer
    Write-OctowaitFields $answer
    return $answer
}

# A grant may be read long after it was sent: it counts only once it is told again to a call made after that.
function Confirm-OctowaitGrant($answer) {
    if (-not $octowait.knowsClaim) {
        return $answer
    }
    $again = Invoke-OctowaitWait 'GET' '?block_seconds=0' '' 20
    if (@('silence', 'heard') -ccontains $again.state) {
        $again = Invoke-OctowaitWait 'GET' '?block_seconds=0' '' 20
    }
    return $again
}

# Seconds that it asks without having reached octowait.
function Get-OctowaitPatience {
    if ($octowaitWhenUnreachable -ceq 'proceed' -and $octowait.heard -ceq '') {
        return [math]::Min($octowaitTimeoutSeconds, 120 / $octowaitTimeDivisor)
    }
    return [math]::Min($octowaitTimeoutSeconds, $octowaitFirstContactSeconds / $octowaitTimeDivisor)
}

function Stop-OctowaitUnanswered {
    $seconds = [int][math]::Floor((Get-OctowaitElapsed))
    $null = Invoke-Octowait 'DELETE' "?reason=unreachable%20for%20the%20$octowaitVerb%20step" '' 5
    $silence = "octowait at $octowaitUrl has not answered for $seconds s"
    if ($octowaitWhenUnreachable -ceq 'fail') {
        Stop-OctowaitStep "$silence. $($octowait.last)"
    }
    if ($octowait.heard -cne '') {
        $other = "octowait did not answer ($($octowait.heard))."
        Stop-OctowaitStep "$silence, but something else did: not going on without waiting. $other"
    }
    $why = "as Octowait.WhenUnreachable says"
    Write-OctowaitWarning "${silence}: going on WITHOUT waiting, $why. $($octowait.last)"
    Complete-OctowaitStep 'unreachable' '0'
}

# What an answer tells besides its state, once: words for the steps after this one, and a page for people.
$octowait.claimSet = $false
$octowait.familySet = ''
$octowait.detailsSaid = $false

function Write-OctowaitFields($answer) {
    if ($octowait.knowsClaim -and -not $octowait.claimSet) {
        $octowait.claimSet = $true
        Set-OctopusVariable -name "Octowait.Claim" -value $octowait.claim
    }
    $family = [string]$answer.fields['family']
    if ($family -cmatch '^[!-~]{1,200}\z' -and $family -cne $octowait.familySet) {
        $octowait.familySet = $family
        Set-OctopusVariable -name "Octowait.Family" -value $family -sensitive
    }
    $details = [string]$answer.fields['details']
    if ($details -cmatch '^https?://[A-Za-z0-9._~:/?&=%+@-]{1,2000}\z' -and -not $octowait.detailsSaid) {
        $octowait.detailsSaid = $true
        Write-OctowaitLine "Details: $details"
    }
}

function Complete-OctowaitStep([string]$state, [string]$number) {
    Set-OctopusVariable -name "Octowait.State" -value $state
    Set-OctopusVariable -name "Octowait.FencingToken" -value $number
    Set-OctopusVariable -name "Octowait.WaitedSeconds" -value ([string][int][math]::Floor((Get-OctowaitElapsed)))
    exit 0
}

# A line at each change, else at most one a minute.
function Show-OctowaitWait([string]$key, [string]$text) {
    $isNew = $key -cne $octowait.shownKey
    if (-not $isNew -and ((Get-OctowaitElapsed) - $octowait.shownAt) -lt (60 / $octowaitTimeDivisor)) {
        return
    }
    $octowait.shownKey = $key
    $octowait.shownAt = Get-OctowaitElapsed
    Write-OctowaitWait $text
    Write-OctowaitProgress ($octowait.shownAt * 100 / $octowaitTimeoutSeconds) $text
}

function Write-OctowaitProgress([double]$percent, [string]$text) {
    if (Test-Path 'Function:\Update-Progress') {  # Octopus has it since 2019.7
        Update-Progress ([int][math]::Min(99.0, [math]::Floor($percent))) (Format-OctowaitText $text)
    }
}

# Seconds since the start at which it gives up.
function Get-OctowaitEnd {
    if ($octowait.hasAnswered) {
        return $octowaitTimeoutSeconds
    }
    return Get-OctowaitPatience
}

function Stop-OctowaitWaiting {
    if (-not $octowait.hasAnswered) {
        Stop-OctowaitUnanswered
    }
    $null = Invoke-Octowait 'DELETE' '?reason=time-out%20of%20the%20wait%20step' '' 5
    Stop-OctowaitStep "Gave up after $octowaitTimeoutMinutes min (Octowait.TimeoutMinutes). $($octowait.last)"
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

$octowaitRedisUrl = Get-OctowaitParameter "Octowait.RedisUrl" "" $octowaitOneExpression
$octowaitTimeoutMinutes = Get-OctowaitParameter "Octowait.TimeoutMinutes" "120" $octowaitOneExpression
$octowaitPriority = Get-OctowaitParameter "Octowait.Priority" "0" $octowaitOneExpression
$octowaitOnBehalfOf = Get-OctowaitParameter "Octowait.OnBehalfOf" "" $octowaitOneExpression
$octowaitWhenUnreachable = Get-OctowaitParameter "Octowait.WhenUnreachable" "fail" $octowaitOneExpression

$octowaitTimeoutSeconds = 0
if ($octowaitTimeoutMinutes -cmatch '^[0-9]{1,5}(\.[0-9]{1,3})?\z') {
    $octowaitMinutes = [decimal]::Parse($octowaitTimeoutMinutes, [System.Globalization.CultureInfo]::InvariantCulture)
    $octowaitTimeoutSeconds = [int][math]::Floor($octowaitMinutes * 60)
}

if ($octowaitTimeoutSeconds -lt 1 -or $octowaitTimeoutSeconds -gt 604800) {
    Add-OctowaitProblem "Octowait.TimeoutMinutes" $octowaitTimeoutMinutes "minutes above 0, at most 10080"
}
if ($octowaitPriority -cnotmatch '^-?[0-9]{1,7}\z' -or [math]::Abs([int]$octowaitPriority) -gt 1000000) {
    Add-OctowaitProblem "Octowait.Priority" $octowaitPriority "a whole number from -1000000 to 1000000"
}
if ($octowaitOnBehalfOf -cne '' -and $octowaitOnBehalfOf -cnotmatch $octowaitIdPattern) {
    Add-OctowaitProblem "Octowait.OnBehalfOf" $octowaitOnBehalfOf "nothing, or an id such as ServerTasks-4711"
}
if (@('fail', 'proceed') -cnotcontains $octowaitWhenUnreachable.ToLowerInvariant()) {
    Add-OctowaitProblem "Octowait.WhenUnreachable" $octowaitWhenUnreachable "fail or proceed"
}
$octowaitWhenUnreachable = $octowaitWhenUnreachable.ToLowerInvariant()
foreach ($octowaitMachine in $octowaitMachines) {
    if ($octowaitMachine -cnotmatch $octowaitIdPattern) {
        Add-OctowaitProblem "Octowait.Machines" $octowaitMachine "ids such as Machines-7, separated by commas"
    }
}
if ($octowait.problems.Count -gt 0) {
    Stop-OctowaitStep (($octowait.problems -join '; ') + '.')
}

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
# The deployment target whose mutex this script holds; with OctopusBypassDeploymentMutex it holds none.
$octowaitTarget = Get-OctowaitVariable "Octopus.Machine.Id"
$octowaitMutex = (Get-OctowaitVariable "OctopusBypassDeploymentMutex").Trim()
if ($octowaitMutex -cmatch '^[Tt][Rr][Uu][Ee]\z') {
    $octowaitTarget = ''
}
elseif ($octowaitMutex -cne '' -and $octowaitTarget -ceq '') {
    Stop-OctowaitStep ("OctopusBypassDeploymentMutex is '$octowaitMutex': this step would keep its worker to itself while it waits, " +
        "and the release step of the run that it waits for could not run there: remove the variable or set it to True.")
}
if ($octowaitTarget -cne '' -and (Get-OctowaitVariable "Octopus.WorkerPool.Id") -cne '') {
    Stop-OctowaitStep ("This step runs on a worker on behalf of the deployment target $octowaitTarget, once for each target: " +
        "let it run once, on a worker or on the Octopus Server.")
}

if ($octowaitTarget -cne '') {
    Stop-OctowaitStep ("This step runs on the deployment target $octowaitTarget and would block the very deployment " +
        "it waits for: run it on a worker or on the Octopus Server, " +
        "or set OctopusBypassDeploymentMutex to True.")
}

# 3. No machines: nothing to wait for.
if ($octowaitMachines.Count -eq 0) {
    Write-OctowaitHighlight "This deployment has no machines: nothing to wait for."
    Complete-OctowaitStep 'no_machines' '0'
}

if ($octowaitRedisUrl -cne '') {
    $octowaitReason = 'not supported in PowerShell'
    Write-OctowaitWarning "Octowait.RedisUrl is not usable here ($octowaitReason): blocking over HTTP."
}

# 4. Say who we are.
function Get-OctowaitNullIfEmpty([string]$text) {
    if ($text -ceq '') {
        return $null
    }
    return $text
}

function Get-OctowaitNamed([string]$kind, [string]$nameVariable, [string]$label) {
    $id = Get-OctowaitNullIfEmpty (Get-OctowaitVariable "$kind.Id")
    $name = Get-OctowaitNullIfEmpty (Get-OctowaitVariable $nameVariable)
    if ($null -eq $id -and $null -eq $name) {
        return $null
    }
    return @{ 'id' = $id; $label = $name }
}

# The Octopus of before said its address otherwise, and runbook runs have a link of their own.
$octowaitServer = Get-OctowaitVariable "Octopus.Web.ServerUri"
if ($octowaitServer -ceq '') {
    $octowaitServer = Get-OctowaitVariable "Octopus.Web.BaseUrl"
}
$octowaitLink = Get-OctowaitVariable "Octopus.Web.DeploymentLink"
if ($octowaitLink -ceq '') {
    $octowaitLink = Get-OctowaitVariable "Octopus.Web.RunbookRunLink"
}
$octowaitPage = $null
if ($octowaitServer -cmatch '^https?://' -and $octowaitLink -cne '') {
    $octowaitPage = $octowaitServer.TrimEnd('/') + $octowaitLink
}
$octowaitBody = ConvertTo-Json -Depth 4 -Compress -InputObject @{
    'space_id' = Get-OctowaitNullIfEmpty (Get-OctowaitVariable "Octopus.Space.Id")
    'machines' = $octowaitMachines
    'deployment_id' = Get-OctowaitNullIfEmpty (Get-OctowaitVariable "Octopus.Deployment.Id")
    'runbook_run_id' = Get-OctowaitNullIfEmpty (Get-OctowaitVariable "Octopus.RunbookRun.Id")
    'project' = Get-OctowaitNamed "Octopus.Project" "Octopus.Project.Name" "name"
    'environment' = Get-OctowaitNamed "Octopus.Environment" "Octopus.Environment.Name" "name"
    'release' = Get-OctowaitNamed "Octopus.Release" "Octopus.Release.Number" "version"
    'tenant' = Get-OctowaitNamed "Octopus.Deployment.Tenant" "Octopus.Deployment.Tenant.Name" "name"
    'url' = $octowaitPage
    'priority' = [int]$octowaitPriority
    'timeout_seconds' = $octowaitTimeoutSeconds
    'on_behalf_of' = Get-OctowaitNullIfEmpty $octowaitOnBehalfOf
    'parked' = $octowaitParked
}

# 5. Join the line and block until granted.
$octowaitClock.Restart()  # what PowerShell took to start does not count
$octowait.shownKey = ''
$octowait.shownAt = 0.0
$octowaitHasAsked = $false
$octowaitHasPlace = $false  # it was given one at least once
$octowaitInLine = $false    # nothing has gone wrong since then
$octowaitKey = ''           # what was told last
$octowaitIsNews = $true     # it was something new

while ($true) {
    if ($octowaitHasAsked -and (Get-OctowaitElapsed) -ge (Get-OctowaitEnd)) {
        Stop-OctowaitWaiting
    }
    $octowaitHasAsked = $true

    $octowaitIsPoll = $octowaitInLine
    if ($octowaitIsPoll) {
        if (-not $octowaitIsNews) {
            Wait-OctowaitSecond
        }
        $octowaitBlock = Get-OctowaitBlock
        $octowaitAnswer = Invoke-OctowaitWait 'GET' "?block_seconds=$octowaitBlock" '' ($octowaitBlock + 20)
    }
    else {
        $octowaitAnswer = Invoke-OctowaitWait 'PUT' '' $octowaitBody 20
    }
    if ($octowaitAnswer.state -ceq 'granted') {
        $octowaitIsPoll = $false
        $octowaitAnswer = Confirm-OctowaitGrant $octowaitAnswer
    }

    switch -CaseSensitive ($octowaitAnswer.state) {
        'waiting' {
            if ($octowaitHasPlace -and $octowaitAnswer.isNew) {
                Write-OctowaitWait "The place in the line was lost: joined again at the end."
            }
            if ($octowaitIsPoll) {
                $octowait.failures = 0
                $octowait.refusals = 0
                Set-OctowaitLongerBlock
            }
            $octowaitHasPlace = $true
            $octowaitInLine = $true
            $octowait.last = $octowaitAnswer.message
            # What is expected changes with every look, and is no news by itself.
            $octowaitText = ($octowaitAnswer.message -csplit ' Expected ')[0] -creplace $octowaitDurationPattern, ''
            $octowaitToldKey = $octowaitKey
            $octowaitKey = "$($octowaitAnswer.number) $octowaitText"
            if ($octowaitAnswer.fields['news'] -cmatch '^[!-~]{1,200}\z') {
                $octowaitKey = $octowaitAnswer.fields['news']
            }
            $octowaitIsNews = $octowaitKey -cne $octowaitToldKey
            Show-OctowaitWait $octowaitKey $octowaitAnswer.message
        }
        'granted' {
            Write-OctowaitHighlight $octowaitAnswer.message
            Complete-OctowaitStep 'granted' $octowaitAnswer.number
        }
        { @('expired', 'unknown') -ccontains $_ } {
            Write-OctowaitWait "$($octowaitAnswer.message) Asking for a place again."
            $octowaitInLine = $false
            Wait-OctowaitPause 0 $octowaitTimeoutSeconds
        }
        { Test-OctowaitInterrupted $octowaitAnswer } {
            $octowaitInLine = $octowaitIsPoll -and (Test-OctowaitAskedAgain)
            if ($octowaitIsPoll -and -not $octowait.isRefused -and $_ -cne 'busy') {
                # Whether octowait is gone, or only a long call was cut, the next call tells.
                Set-OctowaitShorterBlock $octowaitAnswer.message
            }
            else {
                $octowait.last = "octowait did not answer ($($octowaitAnswer.message))."
                if (-not ($octowaitIsPoll -and (Test-OctowaitFirstRefusal))) {
                    Show-OctowaitWait 'interrupted' "$($octowait.last) Asking again until the time-out."
                }
            }
            Wait-OctowaitRetry $octowaitAnswer.retryAfter (Get-OctowaitEnd)
            # No other pause.
            $octowaitIsNews = $true
        }
        'timed_out' {
            Stop-OctowaitWaiting
        }
        default {
            Stop-OctowaitStep "octowait does not let this run wait: $($octowaitAnswer.message)"
        }
    }
}

}
