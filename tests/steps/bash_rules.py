"""What a Bash step must not use: what Bash 3.2 (macOS) lacks or does otherwise, and what only some systems' tools know.

Each rule carries a line that breaks it, by which a test proves it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

#: The programs that the steps start, with the options that POSIX has for them; of curl those of 7.19 (2008) and
#: ``head -c``, which every system has.
TOOLS: dict[str, frozenset[str]] = {
    "curl": frozenset(
        "-q --version --config --silent --show-error --stderr --globoff --include --request --max-time "
        "--connect-timeout --noproxy --user-agent --header --write-out".split()
    ),
    "head": frozenset({"-c"}),
    "od": frozenset({"-An", "-N16", "-tx1"}),
    "sed": frozenset({"-e"}),
    "sleep": frozenset(),
    "tr": frozenset({"-d"}),
}

#: Names in the configuration that curl reads, as old as the options.
CURL_SETTINGS = frozenset({"header", "proxy", "cacert", "data-binary"})

_BUILTINS = frozenset(
    ". : [ break case continue declare exit export local printf read return set shift shopt unset wait".split()
)
_OF_OCTOPUS = frozenset("get_octopusvariable set_octopusvariable update_progress fail_step".split())


@dataclass(frozen=True)
class Rule:
    name: str
    breaks: Callable[[str], bool]
    #: A line that breaks it.
    planted: str


@cache
def parsed(source: str) -> Node:
    # The grammar does not know bases in front of an expansion.
    return (
        Parser(Language(tree_sitter_bash.language())).parse(re.sub(r"10#0?|\b0x(?=\$)", "", source).encode()).root_node
    )


def nodes(node: Node, *kinds: str) -> Iterator[Node]:
    if node.type in kinds:
        yield node
    for child in node.children:
        yield from nodes(child, *kinds)


def text(node: Node | None) -> str:
    return (node.text or b"").decode() if node else ""


@cache
def code(source: str) -> str:
    """The script without its comments."""
    kept = source.encode()
    for comment in nodes(parsed(source), "comment"):
        kept = kept.replace(comment.text or b"\0", b"", 1)
    return kept.decode()


def commands(source: str) -> Iterator[tuple[str, list[str]]]:
    """Name and words of each command."""
    for command in nodes(parsed(source), "command"):
        name = command.child_by_field_name("name")
        yield text(name), [text(word) for word in command.children if word != name]


def strangers(source: str) -> list[str]:
    """Programs, options and settings that not every system has."""
    own = {text(function.child_by_field_name("name")) for function in nodes(parsed(source), "function_definition")}
    found = []
    for name, words in commands(source):
        if name in own | _BUILTINS | _OF_OCTOPUS or not re.fullmatch(r"[\w.-]+", name):
            if name == "curl_setting" and words[0] not in CURL_SETTINGS:
                found.append(f"curl's {words[0]}")
        elif name not in TOOLS:
            found.append(name)
        else:
            found += [f"{name} {word}" for word in words if re.match("-+[A-Za-z]", word) and word not in TOOLS[name]]
    return found


def _has(pattern: str) -> Callable[[str], bool]:
    return lambda source: bool(re.search(pattern, code(source)))


def _inside(outer: str, *inner: str) -> Callable[[str], bool]:
    return lambda source: any(list(nodes(one, *inner)) for one in nodes(parsed(source), outer))


def _quotes_a_replacement(source: str) -> bool:
    """Older ones leave the quotes of a replacement in a string."""
    expansions = [one for string in nodes(parsed(source), "string") for one in nodes(string, "expansion")]
    return any(re.match(r"\$\{\w+//?.*[\"']", text(one)) for one in expansions)


RULES = (
    Rule("letter case", _has(r"\$\{\w+(\[[^]]*\])?(\^|,)"), "x=${x^^}"),
    Rule("transformation", _has(r"\$\{\w+@[A-Za-z]\}"), "x=${x@Q}"),
    Rule("kinds of variables", _has(r"(declare|local|typeset) -\w*[Ang]"), "declare -A x"),
    Rule("arrays of lines", _has(r"\b(mapfile|readarray)\b"), "mapfile -t x </x"),
    Rule("coprocesses", _has(r"\bcoproc\b|\bwait -n\b"), "coproc cat"),
    Rule("both streams", _has(r"&>>|\|&"), "x |& cat"),
    Rule("counted from the end", _has(r"\$\{\w+:[^-}:][^}:]*:\s*-|\[-[0-9]"), "x=${x:0:-1}"),
    Rule("time in printf", _has(r"%\([^)]*\)T"), "printf '%(%s)T'"),
    Rule("escapes in printf", _has(r"printf[^\n]*%b"), "printf '%b' '\\u00fc'"),
    Rule("printf into an array", _has(r"printf -v [\"']?\w+\["), "printf -v 'x[1]' y"),
    Rule("is it set", _has(r"\[ -v |\[ ! -v |\btest -v "), "[[ -v x ]]"),
    Rule("newer variables", _has(r"\$\{?(EPOCH|BASHPID|SRANDOM|BASH_ARGV0)"), "x=$EPOCHSECONDS"),
    Rule("newer read", _has(r"\bread [^\n]*-(t 0?\.|N|i)"), "read -t 0.5 x"),
    Rule("falling through", _has(r";&|;;&"), "case x in\n  x) y ;;&\nesac"),
    Rule("steps in braces", _has(r"\{0?[0-9]+\.\.[0-9]+(\.\.|\})"), "x=({01..10})"),
    Rule("newer options", _has(r"shopt (?!-u nocasematch xpg_echo\n)"), "shopt -s globstar"),
    Rule("letters by number", _has(r"\$'[^']*\\[uU]"), "x=$'\\u00fc'"),
    Rule("a quoted expression", _has(r"=~ *[\"']"), "[[ x =~ '^x' ]]"),
    Rule("case in a substitution", _inside("command_substitution", "case_statement"), "x=$(case x in x) y ;; esac)"),
    Rule("here-documents need a file", _inside("program", "herestring_redirect", "heredoc_redirect"), "cat <<<x"),
    Rule("a quoted replacement", _quotes_a_replacement, 'x "${x//a/"b"}"'),
    Rule("echo is not the same everywhere", _has(r"(?m)^\s*echo\b|[;|&] *echo\b"), "echo x"),
    Rule("sed of one system", _has(r"\bsed\b[^\n]*(\\[+?|sSwWbBxnt]|/I)"), "sed 's/x\\+//'"),
    Rule("tools of one system", lambda source: bool(strangers(source)), "grep -P x"),
)


def broken(source: str) -> list[str]:
    """The names of the rules that a script breaks."""
    return [rule.name for rule in RULES if rule.breaks(source)]
