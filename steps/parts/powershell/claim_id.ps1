# This execution of the script, as octowait knows it: a late request of another one ends and takes nothing of it.
$octowaitBytes = New-Object byte[] 16
$octowaitRandom = [System.Security.Cryptography.RandomNumberGenerator]::Create()
$octowaitRandom.GetBytes($octowaitBytes)
$octowait.claim = [System.BitConverter]::ToString($octowaitBytes).Replace('-', '').ToLowerInvariant()
