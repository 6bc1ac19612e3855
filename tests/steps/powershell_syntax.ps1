# Tells what is in PowerShell scripts, from PowerShell's own syntax tree: for test_powershell_5_1.py.
#
# powershell_syntax.ps1 FOLDER: one JSON object, from the name of each script in the folder to its list of facts. A fact
# has a kind (the class of the node, without "Ast"), its line, its text, and what else is asked of that kind.
param([string]$folder)

$ErrorActionPreference = 'Stop'
$language = 'System.Management.Automation.Language'

function Get-Fact([string]$kind, $extent, [hashtable]$more = @{}) {
    $text = $extent.Text
    if ($text.Length -gt 200) {
        $text = $text.Substring(0, 200)
    }
    return @{ kind = $kind; line = $extent.StartLineNumber; text = $text } + $more
}

function Get-TypeName($expression) {
    if ($expression -is "$language.TypeExpressionAst") {
        return $expression.TypeName.FullName
    }
    return ''
}

function Get-More($node) {
    switch ($node.GetType().Name) {
        'CommandAst' {
            $parameters = @($node.CommandElements | Where-Object { $_ -is "$language.CommandParameterAst" })
            $values = @($node.CommandElements | Select-Object -Skip 1 | Where-Object { $_ -isnot "$language.CommandParameterAst" })
            return @{
                name = [string]$node.GetCommandName()
                operator = [string]$node.InvocationOperator
                parameters = @($parameters | ForEach-Object { $_.ParameterName })
                values = @($values | ForEach-Object { $_.Extent.Text })
            }
        }
        'PipelineAst' { return @{ background = $node.Background } }
        'TypeExpressionAst' { return @{ name = $node.TypeName.FullName } }
        'TypeConstraintAst' { return @{ name = $node.TypeName.FullName } }
        'MemberExpressionAst' {
            return @{ name = [string]$node.Member.Value; type = Get-TypeName $node.Expression; conditional = $node.NullConditional }
        }
        'InvokeMemberExpressionAst' {
            return @{
                name = [string]$node.Member.Value
                type = Get-TypeName $node.Expression
                conditional = $node.NullConditional
                arguments = @($node.Arguments | Where-Object { $_ } | ForEach-Object { $_.Extent.Text })
            }
        }
        'IndexExpressionAst' { return @{ conditional = $node.NullConditional } }
        'BinaryExpressionAst' {
            $sides = @($node.Left, $node.Right)
            return @{ operator = [string]$node.Operator; strings = [bool]($sides | Where-Object { $_.StaticType -eq [string] }) }
        }
        'UnaryExpressionAst' { return @{ operator = [string]$node.TokenKind } }
        'AssignmentStatementAst' { return @{ operator = [string]$node.Operator } }
        'SwitchStatementAst' { return @{ flags = [string]$node.Flags } }
        'VariableExpressionAst' {
            $assigned = $node.Parent
            while ($assigned -is "$language.ConvertExpressionAst") {
                $assigned = $assigned.Parent
            }
            $function = $node.Parent
            while ($function -and $function -isnot "$language.FunctionDefinitionAst") {
                $function = $function.Parent
            }
            $isLeft = $assigned -is "$language.AssignmentStatementAst" -and $assigned.Left.Extent.Text.EndsWith($node.Extent.Text)
            $isLoop = $node.Parent -is "$language.ForEachStatementAst" -and $node.Parent.Variable -eq $node
            return @{
                name = $node.VariablePath.UserPath
                assigned = [bool]($isLeft -or $isLoop -or $node.Parent -is "$language.ParameterAst")
                'in' = [string]$function.Name
            }
        }
        'FunctionDefinitionAst' { return @{ name = $node.Name } }
        'NamedBlockAst' { return @{ name = [string]$node.BlockKind } }
        'HashtableAst' {
            return @{ pairs = @($node.KeyValuePairs | ForEach-Object { , @($_.Item1.Extent.Text, $_.Item2.Extent.Text) }) }
        }
        'ConstantExpressionAst' { return @{ type = $node.StaticType.Name } }
        default { return @{} }
    }
}

$found = @{}
foreach ($file in Get-ChildItem -LiteralPath $folder -Filter '*.ps1') {
    $tokens = $null
    $errors = $null
    $tree = [System.Management.Automation.Language.Parser]::ParseFile($file.FullName, [ref]$tokens, [ref]$errors)
    $facts = @($errors | ForEach-Object { Get-Fact 'Error' $_.Extent @{ message = $_.Message } })
    $facts += Get-Fact 'Requires' $tree.Extent @{ version = [string]$tree.ScriptRequirements.RequiredPSVersion }
    foreach ($node in $tree.FindAll({ $true }, $true)) {
        $facts += Get-Fact ($node.GetType().Name -creplace 'Ast$', '') $node.Extent (Get-More $node)
    }
    $found[$file.Name] = $facts
}
ConvertTo-Json -InputObject $found -Depth 6 -Compress
