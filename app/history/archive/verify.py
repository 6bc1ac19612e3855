"""Verification of the archive: which record or file was changed, removed or moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.history.archive.files import DAMAGED, Manifest, manifest_in, opened, stamp_of
from app.history.archive.hash_chain import ChainEnd, Checker
from app.store.errors import ArchiveError

_DATA, _MANIFEST = ".ndjson.gz", ".json"


@dataclass
class Verified:
    """The result of a verification. *end*, kept elsewhere, shows whether the whole archive was replaced."""

    files: int = 0
    records: int = 0
    end: ChainEnd = ChainEnd()
    findings: list[str] = field(default_factory=list)


def verify_directory(directory: Path, head: Manifest | None) -> Verified:
    """All of the archive, from its first record to the end that octowait remembers, where *head* is given."""
    days = {
        path.name[:10] for pattern in ("????-??-??.json", "????-??-??.ndjson.gz") for path in directory.glob(pattern)
    }
    result, manifests = _verify([directory / day for day in sorted(days)])
    if manifests and manifests[0].first_seq != 1:
        before = manifests[0].first_seq - 1
        result.findings.insert(0, f"{manifests[0].day}: older files are missing, with the records 1 to {before}")
    if head:
        _compare_ends(result, manifests, head)
    return result


def verify_files(files: Sequence[Path]) -> Verified:
    """These files of the archive, and that they go on from one another; a file is given by itself or its manifest."""
    stems = {path.with_name(path.name.removesuffix(_DATA).removesuffix(_MANIFEST)) for path in files}
    return _verify(sorted(stems, key=lambda stem: stem.name))[0]


def _verify(stems: Sequence[Path]) -> tuple[Verified, list[Manifest]]:
    result, manifests = Verified(), list[Manifest]()
    for stem in stems:
        result.files += 1
        try:
            manifest = manifest_in(stem.with_name(stem.name + _MANIFEST))
        except ArchiveError as error:
            result.findings.append(f"{stem.name}: {error}")
            continue
        if manifests and manifest.begin != manifests[-1].end:
            result.findings.append(_break(manifests[-1], manifest))
        result.findings += [
            f"{stem.name}: {finding}" for finding in _check(stem.with_name(stem.name + _DATA), manifest)
        ]
        result.records += manifest.count
        result.end = manifest.end
        manifests.append(manifest)
    return result, manifests


def _check(path: Path, manifest: Manifest) -> list[str]:
    checker, name, stamps, findings = Checker(manifest.begin), "", list[str](), []
    try:
        with opened(path) as file:
            for number, line in enumerate(file, start=1):
                stamps = [*stamps[:1], _stamp(line)]
                name = f"record {stamps[-1]} (line {number})" if stamps[-1] else f"line {number}"
                checker.feed(line.rstrip("\n"), name)
    except FileNotFoundError:
        return [f"{path.name} is missing"]
    except DAMAGED as error:
        findings.append(
            f"{path.name} is damaged or cut off {f'behind {name}' if name else 'at its beginning'}: {error}"
        )
    findings += checker.finish(manifest.end)
    # Who reads looks at these two only to know whether a file can have what is asked for.
    if not findings and [*stamps[:1], *stamps[-1:]] != [manifest.first_id, manifest.last_id]:
        findings = [f"its manifest says {manifest.first_id} to {manifest.last_id}: the file has other records"]
    return findings


def _stamp(line: str) -> str:
    """The id of a record's line, "" if it does not begin with one."""
    try:
        return stamp_of(line)
    except ValueError:
        return ""


def _break(before: Manifest, after: Manifest) -> str:
    first, last = before.end.seq + 1, after.begin.seq
    if first <= last:
        return f"{after.day}: a file is missing between {before.day} and it, with the records {first} to {last}"
    return f"{after.day}: does not go on from {before.day}: one of the two was replaced"


def _compare_ends(result: Verified, manifests: Sequence[Manifest], head: Manifest) -> None:
    if result.end.seq < head.end.seq:
        result.findings.append(
            f"{head.day}: the archive ended with this day and record {head.end.seq}, now with record {result.end.seq}"
        )
    elif not any(manifest == head for manifest in manifests):
        result.findings.append(f"{head.day}: is not the file that octowait wrote: its manifest says something else")
