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
