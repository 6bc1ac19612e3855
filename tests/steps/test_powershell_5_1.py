"""Rules that keep the steps fit for Windows PowerShell 5.1, which runs on Windows alone.

They are read from PowerShell's own syntax tree. What 5.1 lacks, and what it does otherwise than PowerShell 7, is known
from its language reference and from the reference source of .NET Framework 4.5.2, the oldest that 5.1 runs on; so the
scripts use only what is listed here. Each rule is proved by lines that break it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from powershell import needs_powershell
from run_step import HERE, POWERSHELL, STEPS

Fact = dict[str, Any]
Rule = Callable[[str, list[Fact]], Iterator[str]]

SCRIPTS = ("claim.ps1", "release.ps1", "wait.ps1")

#: Commands of both, with the parameters that both know and that mean the same in both.
COMMANDS: dict[str, set[str]] = {
    "Add-Type": {"AssemblyName"},
    "ConvertFrom-Json": set(),
    "ConvertTo-Json": {"Compress", "Depth", "InputObject"},
    "ForEach-Object": set(),
    "Get-Random": {"Maximum", "Minimum"},
    "New-Object": set(),
    "Set-StrictMode": {"Off"},
    "Test-Path": set(),
    "Where-Object": set(),
    "Write-Host": set(),
    # Octopus's own.
    "Fail-Step": set(),
    "Set-OctopusVariable": {"name", "sensitive", "value"},
    "Update-Progress": set(),
    "Write-Highlight": set(),
    "Write-Wait": set(),
    "Write-Warning": set(),
}

#: Types of .NET Framework 4.5.2 and PowerShell's names of types, with the static members that are used of them.
TYPES: dict[str, set[str]] = {
    "byte": set(),
    "decimal": {"Parse"},
    "double": {"Parse"},
    "int": set(),
    "math": {"Abs", "Ceiling", "Floor", "Max", "Min", "Pow"},
    "regex": {"Matches"},
    "string": set(),
    "switch": set(),
    "System.BitConverter": {"ToString"},
    "System.Console": {"Error", "OutputEncoding"},
    "System.Convert": {"ToBase64String"},
    "System.Diagnostics.Stopwatch": {"StartNew"},
    "System.Environment": {"GetEnvironmentVariable"},
    "System.Globalization.CultureInfo": {"InvariantCulture"},
    "System.Net.Dns": {"GetHostAddressesAsync"},
    "System.Net.Http.HttpClient": set(),
    "System.Net.Http.HttpClientHandler": set(),
    "System.Net.Http.HttpCompletionOption": {"ResponseHeadersRead"},
    "System.Net.Http.HttpRequestException": set(),
    "System.Net.Http.HttpRequestMessage": set(),
    "System.Net.Http.StringContent": set(),
    "System.Net.NetworkCredential": set(),
    "System.Net.ServicePointManager": {"SecurityProtocol"},
    "System.Net.Sockets.SocketException": set(),
    "System.Net.Sockets.TcpClient": set(),
    "System.Net.WebException": set(),
    "System.Net.WebProxy": set(),
    "System.Security.Authentication.AuthenticationException": set(),
    "System.Security.Cryptography.RandomNumberGenerator": {"Create"},
    "System.StringComparison": {"Ordinal"},
    "System.Text.Encoding": {"UTF8"},
    "System.Threading.Tasks.Task": {"WaitAny"},
    "System.Threading.Thread": {"Sleep"},
    "System.TimeSpan": set(),
    "System.Uri": {"TryCreate", "UnescapeDataString"},
    "System.UriBuilder": set(),
    "System.UriKind": {"Absolute"},
    "ref": set(),
}

#: Methods of values, with how many arguments they get. Overloads that came later, such as those of Contains and Split
#: that take a text and a comparison, are not here; EndsWith without a comparison compares as the culture does.
METHODS: dict[str, int] = {
    "Close": 0,
    "ConnectAsync": 2,
    "Dispose": 0,
    "EndsWith": 2,
    "GetBytes": 1,
    "GetString": 1,
    "LoadIntoBufferAsync": 1,
    "ReadAsByteArrayAsync": 0,
    "Replace": 2,
    "Restart": 0,
    "SendAsync": 2,
    "Substring": 2,
    "ToLowerInvariant": 0,
    "ToUpperInvariant": 0,
    "Trim": 0,
    "TrimEnd": 1,
    "TrimStart": 1,
    "TryAddWithoutValidation": 2,
    "WriteLine": 1,
}
_PROPERTIES = """
    Count Keys Length PSEdition Value
    Elapsed IsFaulted Result TotalSeconds
    Exception InnerException Message Response SocketErrorCode Status StatusCode
    AddressFamily Authority DnsSafeHost Host PathAndQuery Port Scheme Uri UserInfo
    AllowAutoRedirect ConnectionClose Content Credentials Delta Headers Password Proxy RetryAfter
    UseDefaultCredentials UseProxy UserName
    code detail fields isNew kind message number reason retryAfter state status text
"""
#: Properties of values; the last line are those of answers and problems, as the scripts make and read them.
PROPERTIES = frozenset(_PROPERTIES.split())

#: Nodes of the tree that 5.1 has none of.
NEWER_SYNTAX = {"TernaryExpression", "PipelineChain"}
#: Operators that compare letters by the current culture; -c... does not.
CULTURED = re.compile(
    r"I?(like|notlike|match|notmatch|replace|split|contains|notcontains|in|notin|eq|ne)$", re.IGNORECASE
)
#: Variables that PowerShell sets itself.
AUTOMATIC = {"_", "args", "error", "event", "foreach", "host", "input", "matches", "pid", "profile", "pwd", "sender",
             "this", "true", "false"}  # fmt: skip
SET_ASIDE = {"ErrorActionPreference", "InformationPreference", "PSDefaultParameterValues", "WarningPreference"}


def of_kind(facts: list[Fact], *kinds: str) -> Iterator[Fact]:
    return (fact for fact in facts if fact["kind"] in kinds)


def says(fact: Fact, text: str) -> str:
    return f"line {fact['line']}: {fact['text'][:80]!r}: {text}"


def parses(_: str, facts: list[Fact]) -> Iterator[str]:
    yield from (says(fact, fact["message"]) for fact in of_kind(facts, "Error"))


def says_what_it_needs(source: str, facts: list[Fact]) -> Iterator[str]:
    """Elsewhere the first line gives a message that people understand."""
    if source.splitlines()[0] != "#Requires -Version 5.1" or [f["version"] for f in of_kind(facts, "Requires")] != [
        "5.1"
    ]:
        yield "the first line is not '#Requires -Version 5.1'"


def is_ascii(source: str, _: list[Fact]) -> Iterator[str]:
    """5.1 reads a file without a mark in the code page of the machine."""
    if not source.isascii():
        yield "there are other characters than those of ASCII"


def has_no_newer_syntax(_: str, facts: list[Fact]) -> Iterator[str]:
    for fact in facts:
        kind = fact["kind"]
        is_newer = (
            kind in NEWER_SYNTAX
            or fact.get("background")
            or fact.get("conditional")
            or (kind in ("BinaryExpression", "AssignmentStatement") and fact["operator"].startswith("QuestionQuestion"))
            or (kind == "NamedBlock" and fact["name"] == "Clean")
            or (
                kind == "ConstantExpression"
                and re.search(r"^0b|[0-9a-f](u|us|ul|uy|y|s|n)$", fact["text"], re.IGNORECASE)
            )
            or (kind == "ExpandableStringExpression" and re.search(r"`(e|u\{)", fact["text"]))
            or (kind == "StringConstantExpression" and re.search(r'^".*`(e|u\{)', fact["text"], re.DOTALL))
        )
        if is_newer:
            yield says(fact, "5.1 does not know this syntax")


def runs_commands_of_both(_: str, facts: list[Fact]) -> Iterator[str]:
    own = {fact["name"] for fact in of_kind(facts, "FunctionDefinition")}
    for fact in of_kind(facts, "Command"):
        if fact["name"] in own or (fact["operator"] == "Ampersand" and fact["text"].startswith("& {")):
            continue
        known = COMMANDS.get(fact["name"])
        if known is None:
            yield says(fact, "not a command that both have, nor one of this script")
        elif not set(fact["parameters"]) <= known:
            yield says(fact, f"not parameters that both have: {sorted(set(fact['parameters']) - known)}")
        if fact["name"] == "New-Object" and re.sub(r"\(.*", "", fact["values"][0], flags=re.DOTALL) not in {
            *TYPES,
            "byte[]",
        }:
            yield says(fact, "not a type of both")


def uses_types_of_both(_: str, facts: list[Fact]) -> Iterator[str]:
    for fact in of_kind(facts, "TypeExpression", "TypeConstraint"):
        if fact["name"].removesuffix("[]") not in TYPES:
            yield says(fact, "not a type of both")


def uses_members_of_both(_: str, facts: list[Fact]) -> Iterator[str]:
    # What the scripts keep in $octowait is theirs.
    for fact in of_kind(facts, "MemberExpression", "InvokeMemberExpression"):
        if fact["type"]:
            if fact["name"] not in TYPES.get(fact["type"], set()):
                yield says(fact, "not a static member of both")
        elif fact["kind"] == "InvokeMemberExpression":
            if METHODS.get(fact["name"]) != len(fact["arguments"]):
                yield says(fact, "not a method of both")
        elif fact["name"] not in PROPERTIES and not re.match(r"\$octowait\.\w+$", fact["text"]):
            yield says(fact, "not a property of both")


def compares_letters_as_letters(_: str, facts: list[Fact]) -> Iterator[str]:
    """On .NET Framework -match ignores case by the current culture, and so do switch, -eq and -in between texts."""
    for fact in of_kind(facts, "BinaryExpression", "UnaryExpression"):
        is_equality = re.fullmatch(r"I(eq|ne|in|notin|contains|notcontains)", fact["operator"], re.IGNORECASE)
        if CULTURED.fullmatch(fact["operator"]) and (fact.get("strings") or not is_equality):
            yield says(fact, "compares by the current culture: -c... does not")
        if fact["operator"] == "Format":
            yield says(fact, "formats by the current culture")
    for fact in of_kind(facts, "SwitchStatement"):
        if "CaseSensitive" not in fact["flags"]:
            yield says(fact, "compares by the current culture: -CaseSensitive does not")


def has_names_of_its_own(_: str, facts: list[Fact]) -> Iterator[str]:
    """So that no read-only, typed or aliased name of a script module stands in the way."""
    for fact in of_kind(facts, "FunctionDefinition"):
        if not re.fullmatch(r"[A-Z][a-z]+-Octowait[A-Za-z]*", fact["name"]):
            yield says(fact, "a function without the prefix Octowait in its name")
    for fact in of_kind(facts, "VariableExpression"):
        name = fact["name"]
        if ":" in name and not (name.lower().startswith("env:") and not fact["assigned"]):
            yield says(fact, "a variable of another scope")
        elif fact["assigned"] and name.lower() in AUTOMATIC:
            yield says(fact, "a variable that PowerShell sets")
        elif (
            fact["assigned"] and not fact["in"] and not name.startswith("octowait") and name not in {*SET_ASIDE, "null"}
        ):
            yield says(fact, "a variable of the script without the prefix octowait in its name")
    statements = [fact for fact in of_kind(facts, "Command") if fact["operator"] == "Ampersand"]
    if len(statements) != 1 or not statements[0]["text"].startswith("& {"):
        yield "the script is not one block, in a scope of its own"


def keeps_lists(_: str, facts: list[Fact]) -> Iterator[str]:
    """A pipeline into ConvertTo-Json makes one of a list of one; 5.1 makes an object of a list that came out of one."""
    for fact in of_kind(facts, "Command"):
        if fact["name"] == "ConvertTo-Json" and "InputObject" not in fact["parameters"]:
            yield says(fact, "give it the value by -InputObject")
    for fact in of_kind(facts, "Hashtable"):
        for name, value in fact["pairs"]:
            if name == "'machines'" and value != "$octowaitMachines":
                yield says(fact, "expected the list of texts")
    for fact in of_kind(facts, "AssignmentStatement"):
        if fact["text"].startswith("$octowaitMachines =") and not fact["text"].startswith(
            "$octowaitMachines = [string[]]@("
        ):
            yield says(fact, "expected a list of texts: [string[]]@(...)")


def leaves_the_session_alone(_: str, facts: list[Fact]) -> Iterator[str]:
    """Octopus reads the code page of the machine, and 0 means that the system chooses its protocols."""
    for fact in of_kind(facts, "AssignmentStatement"):
        if "OutputEncoding" in fact["text"].split("=")[0]:
            yield says(fact, "sets how Octopus reads the output")
        if "SecurityProtocol" in fact["text"].split("=")[0] and not fact["text"].endswith("-bor 3072"):
            yield says(fact, "takes protocols away")
    for fact in of_kind(facts, "TrapStatement"):
        yield says(fact, "Octopus ends a script without a word")


RULES: tuple[Rule, ...] = (
    parses,
    says_what_it_needs,
    is_ascii,
    has_no_newer_syntax,
    runs_commands_of_both,
    uses_types_of_both,
    uses_members_of_both,
    compares_letters_as_letters,
    has_names_of_its_own,
    keeps_lists,
    leaves_the_session_alone,
)

#: Lines that break a rule, and the rule.
PLANTED: tuple[tuple[Rule, str], ...] = (
    (parses, "while ($true {"),
    (parses, 'Write-Host "$name: x"'),
    (is_ascii, "Write-Host 'W\u00ebb'"),
    (has_no_newer_syntax, "$octowaitA = $octowaitB ?? 1"),
    (has_no_newer_syntax, "$octowaitA ??= 1"),
    (has_no_newer_syntax, "$octowaitA = ${octowaitB}?.Message"),
    (has_no_newer_syntax, "$octowaitA = ${octowaitB}?[0]"),
    (has_no_newer_syntax, "$octowaitA = $octowaitB ? 1 : 2"),
    (has_no_newer_syntax, "Write-Host a && Write-Host b"),
    (has_no_newer_syntax, "Write-Host a || Write-Host b"),
    (has_no_newer_syntax, "Write-Host a &"),
    (has_no_newer_syntax, "function Get-OctowaitX { process { } clean { } }"),
    (has_no_newer_syntax, "$octowaitA = 0b11"),
    (has_no_newer_syntax, "$octowaitA = 5u"),
    (has_no_newer_syntax, "$octowaitA = 5n"),
    (has_no_newer_syntax, 'Write-Host "`e[0m"'),
    (has_no_newer_syntax, 'Write-Host "`u{2026} $octowaitA"'),
    (runs_commands_of_both, "Get-Uptime"),
    (runs_commands_of_both, "Invoke-RestMethod -SkipHttpErrorCheck -Uri $octowaitUrl"),
    (runs_commands_of_both, "$octowaitA = ConvertFrom-Json -AsHashtable '{}'"),
    (runs_commands_of_both, "1 | ForEach-Object -Parallel { $_ }"),
    (runs_commands_of_both, "$octowaitA = New-Object System.Net.Http.SocketsHttpHandler"),
    (runs_commands_of_both, "& curl"),
    (uses_types_of_both, "$octowaitA = [System.Text.Json.JsonDocument]"),
    (uses_types_of_both, "$octowaitA = [System.Net.Http.SocketsHttpHandler]::new()"),
    (uses_members_of_both, "$octowaitA = [System.Convert]::ToHexString($octowaitB)"),
    (uses_members_of_both, "$octowaitA = [math]::Clamp(1, 2, 3)"),
    (uses_members_of_both, "$octowaitA = [System.TimeSpan]::FromHours(1)"),
    (uses_members_of_both, "$octowaitA = $octowaitB.Contains('a', [System.StringComparison]::Ordinal)"),
    (uses_members_of_both, "$octowaitA = $octowaitB.Split(', ')"),
    (uses_members_of_both, "$octowaitA = $octowaitB.EndsWith('x')"),
    (uses_members_of_both, "$octowaitA = $octowaitB.ToLower()"),
    (uses_members_of_both, "$octowaitA = $octowaitB.HttpRequestError"),
    (compares_letters_as_letters, "$octowaitA = $octowaitB -match 'i'"),
    (compares_letters_as_letters, "$octowaitA = $octowaitB -notmatch $octowaitC"),
    (compares_letters_as_letters, "$octowaitA = $octowaitB -replace 'i', ''"),
    (compares_letters_as_letters, "$octowaitA = $octowaitB -split 'i'"),
    (compares_letters_as_letters, "$octowaitA = -split $octowaitB"),
    (compares_letters_as_letters, "$octowaitA = $octowaitB -like 'i*'"),
    (compares_letters_as_letters, "$octowaitA = $octowaitB -eq 'i'"),
    (compares_letters_as_letters, "$octowaitA = 'i' -ne $octowaitB"),
    (compares_letters_as_letters, "$octowaitA = 'i' -in $octowaitB"),
    (compares_letters_as_letters, "$octowaitA = $octowaitB -contains 'i'"),
    (compares_letters_as_letters, "$octowaitA = '{0:n}' -f 5"),
    (compares_letters_as_letters, "switch ($octowaitA) { 'i' { } }"),
    (has_names_of_its_own, "function Get-Elapsed { }"),
    (has_names_of_its_own, "$url = 'x'"),
    (has_names_of_its_own, "foreach ($machine in $octowaitMachines) { }"),
    (has_names_of_its_own, "$script:octowaitA = 1"),
    (has_names_of_its_own, "$global:octowaitA = 1"),
    (has_names_of_its_own, "$env:HTTP_PROXY = ''"),
    (has_names_of_its_own, "function Get-OctowaitX { $input = 1 }"),
    (has_names_of_its_own, "function Get-OctowaitX { foreach ($event in 1) { } }"),
    (has_names_of_its_own, "}\n& {"),
    (keeps_lists, "$octowaitA = $octowaitB | ConvertTo-Json"),
    (keeps_lists, "$octowaitA = @{ 'machines' = $octowaitB }"),
    (keeps_lists, "$octowaitMachines = @('a')"),
    (leaves_the_session_alone, "[System.Console]::OutputEncoding = [System.Text.Encoding]::UTF8"),
    (leaves_the_session_alone, "[System.Net.ServicePointManager]::SecurityProtocol = 3072"),
    (leaves_the_session_alone, "trap { }"),
)


def read(folder: Path) -> dict[str, list[Fact]]:
    """What PowerShell's parser finds in the scripts of a folder."""
    command = [
        POWERSHELL,
        "-NoLogo",
        "-NonInteractive",
        "-NoProfile",
        "-File",
        str(HERE / "powershell_syntax.ps1"),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Fact]]:
    """Of the three scripts, and of small ones with the planted lines, by one start of PowerShell."""
    needs_powershell()
    folder = tmp_path_factory.mktemp("syntax")
    for name in SCRIPTS:
        (folder / name).write_text((STEPS / name).read_text())
    for number, (_, lines) in enumerate(PLANTED):
        (folder / f"planted-{number}.ps1").write_text(f"#Requires -Version 5.1\n& {{\n{lines}\n}}\n", encoding="utf-8")
    (folder / "sound.ps1").write_text("#Requires -Version 5.1\n& {\n$octowaitA = 1\n}\n")
    (folder / "needs.ps1").write_text("# A comment first.\n#Requires -Version 7\n& {\n}\n")
    found = read(folder)
    for name in found:
        found[name].append({"kind": "Source", "line": 0, "text": (folder / name).read_text(encoding="utf-8")})
    return found


def broken(facts: list[Fact], rule: Rule) -> list[str]:
    source = facts[-1]["text"]
    return list(rule(source, facts[:-1]))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script(facts: dict[str, list[Fact]], name: str, rule: Rule) -> None:
    assert broken(facts[name], rule) == []


@pytest.mark.parametrize("number", range(len(PLANTED)))
def test_a_planted_line_is_found(facts: dict[str, list[Fact]], number: int) -> None:
    rule, lines = PLANTED[number]

    assert broken(facts[f"planted-{number}.ps1"], rule), lines


def test_the_version_that_is_needed_stands_first(facts: dict[str, list[Fact]]) -> None:
    assert broken(facts["needs.ps1"], says_what_it_needs)
    assert all(broken(facts["sound.ps1"], rule) == [] for rule in RULES)


def test_every_rule_is_proved() -> None:
    assert {rule for rule, _ in PLANTED} | {says_what_it_needs} == set(RULES)


def test_nothing_is_allowed_that_no_script_uses(facts: dict[str, list[Fact]]) -> None:
    used = [fact for name in SCRIPTS for fact in facts[name]]
    commands = {fact["name"] for fact in of_kind(used, "Command")}
    names = {fact["name"] for fact in of_kind(used, "MemberExpression", "InvokeMemberExpression")}

    assert set(COMMANDS) <= commands
    assert {*METHODS, *PROPERTIES} <= names
