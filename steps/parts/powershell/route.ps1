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
