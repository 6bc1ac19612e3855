"""Shortens what people named, where it is only shown: Octopus allows names and versions of any length."""

from __future__ import annotations

import json

#: Characters of a name, such as that of a project, in a sentence.
NAME_LENGTH = 100


def shortened(text: str, most: int = NAME_LENGTH) -> str:
    """*text* with at most *most* characters, the last of them ``…`` where some are left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def shortened_bytes(text: str, most: int) -> str:
    """*text*, so that it takes at most *most* bytes as a JSON string in ASCII, and so in UTF-8 too."""
    if len(json.dumps(text)) <= most:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if len(json.dumps(text[:middle] + "…")) <= most:
            fits = middle
        else:
            too_long = middle
    return text[:fits] + "…"
