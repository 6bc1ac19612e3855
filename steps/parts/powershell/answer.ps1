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
