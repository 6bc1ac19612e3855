"""What the Redis server has to promise, and what is said where it does not."""

from __future__ import annotations

import pytest

from app.domain.faults import FSYNC, shortcomings
from app.settings import BadSettings, load_settings
from app.store.persistence import Condition

#: What a server may say of its file: whether it has one, and how often it is synced; what that is worth.
FILES = [
    (True, "always", "always"),
    (True, "everysec", "everysec"),
    (True, "no", "none"),
    (True, None, "everysec"),  # a managed server, which has Redis's default
    (True, "a word of tomorrow", "none"),
    (False, "always", "none"),
    (False, None, "none"),
]


@pytest.mark.parametrize("least", FSYNC)
@pytest.mark.parametrize(("append_only", "fsync", "worth"), FILES)
def test_a_file_that_is_synced_too_seldom_is_a_fault(append_only, fsync, worth, least):
    condition = Condition("7.2.4", append_only, fsync, False, 0, "noeviction")

    faults = shortcomings(condition, min_fsync=least, allows_eviction=False)

    assert [fault.code for fault in faults] == ["redis_fsync"] * (FSYNC.index(worth) < FSYNC.index(least))
    assert all(f"OCTOWAIT_MIN_FSYNC={least}" in fault.message and "appendfsync" in fault.do for fault in faults)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("maxmemory", [0, 1 << 30])
@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "volatile-ttl"])
def test_a_full_server_that_forgets_is_a_fault_unless_that_is_accepted(policy, maxmemory, allowed):
    condition = Condition("7.2.4", True, "always", False, maxmemory, policy)

    faults = shortcomings(condition, min_fsync="always", allows_eviction=allowed)

    is_wrong = policy != "noeviction" and maxmemory and not allowed
    assert [fault.code for fault in faults] == ["redis_eviction"] * bool(is_wrong)


def test_another_word_for_syncing_names_those_that_there_are():
    with pytest.raises(BadSettings, match=r"OCTOWAIT_MIN_FSYNC='often'.*'none', 'everysec' or 'always'"):
        load_settings({"OCTOWAIT_MIN_FSYNC": "often"})
