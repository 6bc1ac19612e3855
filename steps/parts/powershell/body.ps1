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
    'parked' = $parked
}
