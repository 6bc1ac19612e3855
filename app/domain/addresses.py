"""Addresses as they may be shown: without what signs somebody in."""

from __future__ import annotations

import re

#: User and password, also one with a slash in it that somebody forgot to encode.
_USER_INFO = re.compile(r"(?<=://)[^\s'\"<>]*@")


def without_passwords(text: str) -> str:
    """*text*, an address or a message with addresses in it, with ``***`` for the user and the password of each."""
    return _USER_INFO.sub("***@", text)
