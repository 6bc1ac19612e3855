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
