"""Keys of another type than octowait writes: which one a script has met that broke off for it."""

from __future__ import annotations

from collections.abc import Iterable

from app.store.connection import Client
from app.store.errors import WrongType
from app.store.keys import SCRIPT_KEYS, Keys, listed


def named_wrong_type(client: Client, names: Iterable[str], error: Exception) -> Exception:
    """The *error* of a script with the first of its keys, *names*, that is of another type; any other error as it is.

    Raises Redis's own errors.
    """
    if "WRONGTYPE" not in str(error):
        return error
    for name in names:
        key, kind = listed(name), client.type(name)
        word = kind.decode() if isinstance(kind, bytes) else str(kind)
        if key and word != "none" and word not in key.type.split(" or "):
            return WrongType(
                f"{name} is a {word}: expected a {key.type}. Nothing was changed; see who else writes into this Redis, "
                "and restore a backup. Do not delete that key alone: who is in it would count as gone"
            )
    return error


def fixed_keys(keys: Keys) -> list[str]:
    """The keys of the board that are always there under one name."""
    return [keys.named(key.name) for key in SCRIPT_KEYS if not key.is_prefix and key.type != "channel"]
