"""The doctor's checks of the witness."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from app.doctor import on_witness
from tests.integration.doctor.helpers import GOOD, OK, WARNING, found


@pytest.mark.parametrize(("hides", "level"), [(False, OK), (True, WARNING)])
def test_server_that_hides_who_it_is(case, hides, level):
    case = replace(case, condition=lambda: replace(GOOD, hides_run_id=hides))

    assert found(on_witness.server, case) == [("redis_run_id", level)]


@pytest.mark.parametrize(
    ("bind", "key", "level"),
    [("127.0.0.1:8080", None, OK), ("0.0.0.0:8080", None, WARNING), ("0.0.0.0:8080", SecretStr("k" * 32), OK)],
)
def test_key_that_is_not_set_where_several_hosts_may_need_it(case, bind, key, level):
    case = replace(case, settings=case.settings.model_copy(update={"bind": bind, "witness_key": key}))

    assert found(on_witness.steps, case) == [("witness_key", level)]
