"""The errors of the store.

StoreError
├── StoreUnreachable   Redis does not answer; trying again can help
├── WrongType          a key is of another type than octowait writes; nothing was changed
├── NewerData          the data are of a newer octowait, and this one must not write them
├── BadStoreAddress    the address is not one that Redis clients understand
└── ArchiveError       the archive's files cannot be written, or are not what they must be
"""

from __future__ import annotations


class StoreError(Exception):
    """Redis could not do what was asked."""


class StoreUnreachable(StoreError):
    """Redis does not answer, or is loading its data; trying again can help."""


class WrongType(StoreError):
    """A key is of another type than octowait writes: somebody else has written it. Nothing was changed."""


class NewerData(StoreError):
    """The data are of a newer octowait, and this one must not write them; the message says which one to take."""


class BadStoreAddress(StoreError):
    """The address is not one that Redis clients understand."""


class ArchiveError(StoreError):
    """The archive's files cannot be written, or are not what they must be; nothing was trimmed."""
