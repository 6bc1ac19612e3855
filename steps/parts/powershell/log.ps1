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
