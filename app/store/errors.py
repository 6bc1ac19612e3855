"""The errors of the store.

StoreError
├── StoreUnreachable   Redis does not answer; trying again can help
├── BadStoreAddress    the address is not one that Redis clients understand
└── ArchiveError       the archive's files cannot be written, or are not what they must be
"""

from __future__ import annotations


class StoreError(Exception):
    """Redis could not do what was asked."""


class StoreUnreachable(StoreError):
    """Redis does not answer, or is loading its data; trying again can help."""


class BadStoreAddress(StoreError):
    """The address is not one that Redis clients understand."""


class ArchiveError(StoreError):
    """The archive's files cannot be written, or are not what they must be; nothing was trimmed."""
