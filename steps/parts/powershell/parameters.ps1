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
