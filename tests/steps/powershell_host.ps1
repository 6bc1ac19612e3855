# Runs steps one after the other, each in a runspace of its own, because a start of PowerShell takes a second and a half
# of a core. A line of JSON on stdin has the number of a step, the command that starts it and what its environment has
# besides ("name=value"); when the step is over, a form feed and "ENDED number status" stand on stdout.
$ErrorActionPreference = 'Stop'
$names = @()
while ($null -ne ($line = [System.Console]::In.ReadLine())) {
    $request = ConvertFrom-Json $line
    foreach ($name in $names) {
        [System.Environment]::SetEnvironmentVariable($name, $null)
    }
    $names = @()
    foreach ($pair in $request.environment) {
        $name, $value = $pair -split '=', 2
        [System.Environment]::SetEnvironmentVariable($name, $value)
        $names += $name
    }
    $runspace = [System.Management.Automation.Runspaces.RunspaceFactory]::CreateRunspace($Host)
    $runspace.Open()
    $shell = [System.Management.Automation.PowerShell]::Create()
    $shell.Runspace = $runspace
    $null = $shell.AddScript($request.command).AddCommand('Out-Default')
    $shell.Commands.Commands[0].MergeMyResults('Error', 'Output')
    try {
        $null = $shell.Invoke()
        $status = [int]$runspace.SessionStateProxy.GetVariable('LastExitCode')
    }
    catch {
        [System.Console]::Error.WriteLine($_)
        $status = 1
    }
    $shell.Dispose()
    $runspace.Dispose()
    [System.Console]::Out.Write("`fENDED $($request.number) $($status -band 255)`n")
}
