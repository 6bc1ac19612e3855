"""Secrets taken out of the bodies of requests that are kept."""

from __future__ import annotations

import json
import re
from typing import Any


def redacted(body: bytes, secrets: tuple[str, ...], limit: int) -> str:
    """*body* as text of at most *limit* characters, without the subscription's header value and without *secrets*."""
    try:
        return json.dumps(_clean(json.loads(body), secrets), separators=(",", ":"))[:limit]
    except (ValueError, RecursionError):
        text = body[: 4 * limit].decode("utf-8", "replace")
    # A letter can be written as its number, in the name or in the secret.
    text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    text = _HEADER_VALUE.sub(r"\1null", text)
    return _replaced(text, secrets)[:limit]


def _clean(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {
            _replaced(name, secrets): None if name.lower() == "webhookheadervalue" else _clean(inner, secrets)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_clean(inner, secrets) for inner in value]
    return _replaced(value, secrets) if isinstance(value, str) else value


def _replaced(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


# The printable ones but quote and backslash, which would end what they stand in.
_ESCAPED = re.compile(r"\\u00(2[013-9a-f]|[34][0-9a-f]|5[0-9abd-f]|6[0-9a-f]|7[0-9a-e])", re.I)


# Also a value that is an object (newer servers wrap sensitive values) and one that the body breaks off in.
_STRING = r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
_INNER = rf"[{{\[](?:{_STRING}|[^\"{{}}\[\]])*+(?:[}}\]]|\Z)"
_OUTER = rf"[{{\[](?:{_STRING}|[^\"{{}}\[\]]|{_INNER})*+(?:[}}\]]|\Z)"
_HEADER_VALUE = re.compile(rf'("WebhookHeaderValue"\s*:\s*)(?:{_STRING}|{_OUTER})', re.I | re.S)
