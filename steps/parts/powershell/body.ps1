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
