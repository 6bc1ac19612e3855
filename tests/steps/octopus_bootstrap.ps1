# The functions that Octopus gives a PowerShell script, as far as the steps use them: written for these tests, with the
# names, the parameters, the exit status and the service messages of Calamari's Bootstrap.ps1, and around the script the
# same scopes, preferences and variables.
#
# octopus_bootstrap.ps1 VARIABLES SCRIPT [MODULE]; VARIABLES has a line "base64-name base64-value" for each, MODULE runs
# first, in the same scope.
param([string]$octopusVariablesFile, [string]$octopusScript, [string]$octopusModule = '')

$ErrorActionPreference = 'Stop'

function ConvertTo-MessageValue([string]$text) {
    return [Convert]::ToBase64String([System.Text.Encoding]::UTF8.GetBytes($text))
}

function ConvertFrom-MessageValue([string]$text) {
    return [System.Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($text))
}

function Set-OctopusVariable([string]$name, [string]$value, [switch]$sensitive) {
    $mark = ''
    if ($sensitive) {
        $mark = " sensitive='$(ConvertTo-MessageValue 'True')'"
    }
    Write-Host "##octopus[setVariable name='$(ConvertTo-MessageValue $name)' value='$(ConvertTo-MessageValue $value)'$mark]"
}

function Fail-Step([string]$message) {
    if ($message) {
        Write-Host "##octopus[resultMessage message='$(ConvertTo-MessageValue $message)']"
    }
    exit -1
}

function Update-Progress {
    [CmdletBinding()]
    param([int]$percentage, [Parameter(ValueFromPipeline = $true)][string]$message)
    process {
        $shown = ConvertTo-MessageValue ([string]$percentage)
        Write-Host "##octopus[progress percentage='$shown' message='$(ConvertTo-MessageValue $message)']"
    }
}

function Write-AtLevel([string]$level, [string]$message) {
    Write-Host "##octopus[stdout-$level]"
    Write-Host $message
    Write-Host '##octopus[stdout-default]'
}

function Write-Verbose {
    [CmdletBinding()]
    param([Parameter(ValueFromPipeline = $true)][string]$message)
    process { Write-AtLevel 'verbose' $message }
}

function Write-Highlight {
    [CmdletBinding()]
    param([Parameter(ValueFromPipeline = $true)][string]$message)
    process { Write-AtLevel 'highlight' $message }
}

function Write-Wait {
    [CmdletBinding()]
    param([Parameter(ValueFromPipeline = $true)][string]$message)
    process { Write-AtLevel 'wait' $message }
}

function Write-Warning {
    [CmdletBinding()]
    param([Parameter(ValueFromPipeline = $true)][string]$message)
    process {
        # A script module that has silenced warnings silences these, too.
        if ($WarningPreference -ne 'SilentlyContinue') {
            Write-AtLevel 'warning' $message
        }
    }
}

# The names of variables have no letter case in PowerShell.
$OctopusParameters = New-Object 'System.Collections.Generic.Dictionary[String,String]' ([System.StringComparer]::OrdinalIgnoreCase)
foreach ($line in [System.IO.File]::ReadAllLines($octopusVariablesFile)) {
    $parts = $line.Split(' ')
    $OctopusParameters[(ConvertFrom-MessageValue $parts[0])] = ConvertFrom-MessageValue $parts[1]
}

# Each is a variable of its own, too, without what a name cannot have, unless there is one of that name already.
foreach ($octopusName in @($OctopusParameters.Keys)) {
    $octopusKey = $octopusName -creplace '[^A-Za-z0-9_]', ''
    if ($octopusKey -and -not $octopusName.Contains('[') -and -not (Test-Path "variable:global:$octopusKey")) {
        Set-Variable -Name $octopusKey -Value $OctopusParameters[$octopusName] -Scope Global
    }
}

# Without a proxy of the Tentacle there is none, whatever the environment says.
[System.Net.WebRequest]::DefaultWebProxy = New-Object System.Net.WebProxy
if ($PSVersionTable.PSVersion.Major -ge 7) {
    [System.Net.Http.HttpClient]::DefaultProxy = New-Object System.Net.WebProxy
}

if ($octopusModule -ne '') {
    . $octopusModule
}

try {
    . $octopusScript
}
catch {
    [System.Console]::Error.WriteLine("$($error[0].CategoryInfo.Category): $($error[0].Exception.Message)")
    [System.Console]::Error.WriteLine($error[0].InvocationInfo.PositionMessage)
    exit 1
}

if (Test-Path 'variable:global:lastexitcode') {
    exit $LastExitCode
}
