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
