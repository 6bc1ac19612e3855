import stat

import pytest

from app.settings import BadSettings, load_settings, unknown_variables
from app.settings.generated import secrets_file, with_secrets

TOKENS = "step:ci:step-token-1,viewer:web:viewer-token-1"


def test_defaults_are_those_of_the_reference():
    settings = load_settings({})

    assert (settings.redis_url, settings.namespace, settings.bind) == ("", "default", "127.0.0.1:8080")
    assert (settings.waiter_ttl_seconds, settings.max_hold_seconds, settings.paused_holds) == (120, None, True)
    assert (settings.clock_tolerance_seconds, settings.max_body_kib, settings.log_format) == (5, 256, "text")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("OCTOWAIT_WAITER_TTL_SECONDS", "soon", "integer"),
        ("OCTOWAIT_WAITER_TTL_SECONDS", "0", "greater than 0"),
        ("OCTOWAIT_MAX_HOLD_SECONDS", "-1", "greater than 0"),
        ("OCTOWAIT_CLOCK_TOLERANCE_SECONDS", "-1", "greater than or equal to 0"),
        ("OCTOWAIT_PAUSED_HOLDS", "perhaps", "boolean"),
        ("OCTOWAIT_BIND", "8080", "host:port"),
        ("OCTOWAIT_BIND", "localhost:99999", "host:port"),
        ("OCTOWAIT_PUBLIC_URL", "octowait.example.com", "https://octowait."),
        ("OCTOWAIT_OCTOPUS_URL", "ftp://octopus.example.com", "https://"),
        ("OCTOWAIT_NAMESPACE", "a{b}", "pattern"),
        ("OCTOWAIT_WEBHOOK_HEADER", "X Secret", "pattern"),
        ("OCTOWAIT_LOG_FORMAT", "xml", "'text' or 'json'"),
        ("OCTOWAIT_WEB_PROCESSES", "65", "less than or equal to 64"),
        ("OCTOWAIT_OCTOPUS_SPACES", "Spaces-1;Spaces-2", "ids of spaces, comma separated, such as Spaces-1"),
        ("OCTOWAIT_OCTOPUS_SPACES", "Default Space", "ids of spaces, comma separated"),
        ("OCTOWAIT_OCTOPUS_SPACES", "Default", "ids of spaces, comma separated"),
        ("OCTOWAIT_OCTOPUS_SPACES", "Spaces-1,Default", "ids of spaces, comma separated"),
        ("OCTOWAIT_OCTOPUS_SPACES", "Spaces-1 Spaces-2", "ids of spaces, comma separated"),
        ("OCTOWAIT_OCTOPUS_SPACES", "../x", "ids of spaces, comma separated"),
    ],
)
def test_bad_value_names_the_variable_the_value_and_what_was_expected(variable, value, expected):
    with pytest.raises(BadSettings) as refused:
        load_settings({variable: value})

    message = str(refused.value)
    assert message.startswith(f"{variable}='{value}': ")
    assert expected in message


def test_spaces_are_ids_with_space_around_them_or_none():
    assert load_settings({"OCTOWAIT_OCTOPUS_SPACES": " Spaces-1 , spaces-22,"}).octopus_spaces == (
        "Spaces-1", "spaces-22",
    )  # fmt: skip
    assert load_settings({}).octopus_spaces == ()


def test_all_bad_values_are_named_at_once():
    with pytest.raises(BadSettings) as refused:
        load_settings({"OCTOWAIT_BIND": "8080", "OCTOWAIT_LOG_FORMAT": "xml"})

    assert "OCTOWAIT_BIND=" in str(refused.value)
    assert "OCTOWAIT_LOG_FORMAT=" in str(refused.value)


@pytest.mark.parametrize("tokens", ["root:me:secret-12", "step:ci:short", "step::secret-12", "secret-12-34"])
def test_bad_tokens_are_not_shown(tokens):
    with pytest.raises(BadSettings) as refused:
        load_settings({"OCTOWAIT_TOKENS": tokens})

    assert tokens.rpartition(":")[2] not in str(refused.value)
    assert "role:name:token" in str(refused.value)


def test_secrets_do_not_show_in_the_representation():
    settings = load_settings({"OCTOWAIT_WEBHOOK_SECRET": "webhook-12", "OCTOWAIT_OCTOPUS_API_KEY": "API-12"})

    assert settings.webhook_secret.get_secret_value() == "webhook-12"
    assert "webhook-12" not in repr(settings)
    assert "API-12" not in repr(settings)


def test_tokens_do_not_show_in_the_representation():
    settings = load_settings({"OCTOWAIT_TOKENS": TOKENS})

    assert "step-token-1" not in repr(settings)


def test_tokens_are_read():
    tokens = load_settings({"OCTOWAIT_TOKENS": f" {TOKENS} ,\nadmin:ann:with:colons"}).tokens

    assert [(token.role, token.name, token.secret) for token in tokens] == [
        ("step", "ci", "step-token-1"), ("viewer", "web", "viewer-token-1"), ("admin", "ann", "with:colons"),
    ]  # fmt: skip


def test_secret_can_stand_in_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("from-the-file\n")

    settings = load_settings({"OCTOWAIT_WEBHOOK_SECRET_FILE": str(file)})

    assert settings.webhook_secret.get_secret_value() == "from-the-file"


def test_missing_file_is_named():
    with pytest.raises(BadSettings, match="OCTOWAIT_TOKENS_FILE=/no/such/file: expected a readable file"):
        load_settings({"OCTOWAIT_TOKENS_FILE": "/no/such/file"})


def test_value_and_file_at_once_are_refused(tmp_path):
    with pytest.raises(BadSettings, match="both set"):
        load_settings({"OCTOWAIT_TOKENS": TOKENS, "OCTOWAIT_TOKENS_FILE": str(tmp_path)})


def test_empty_value_is_the_default():
    assert load_settings({"OCTOWAIT_WAITER_TTL_SECONDS": ""}).waiter_ttl_seconds == 120


@pytest.mark.parametrize("bind", ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"])
def test_loopback(bind):
    assert load_settings({"OCTOWAIT_BIND": bind}).is_loopback


@pytest.mark.parametrize("bind", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "octowait:1"])
def test_reachable_without_secrets_is_refused(bind, tmp_path):
    settings = load_settings({"OCTOWAIT_BIND": bind, "OCTOWAIT_DATA_DIR": str(tmp_path)})

    with pytest.raises(BadSettings, match="OCTOWAIT_WEBHOOK_SECRET and OCTOWAIT_TOKENS to be set"):
        with_secrets(settings)
    assert not secrets_file(tmp_path).exists()


def test_name_that_only_looks_like_loopback_is_reachable():
    assert not load_settings({"OCTOWAIT_BIND": "127.example.com:1"}).is_loopback


def test_reachable_with_one_secret_missing_names_that_one():
    settings = load_settings({"OCTOWAIT_BIND": "0.0.0.0:1", "OCTOWAIT_TOKENS": TOKENS})

    with pytest.raises(BadSettings, match="expected OCTOWAIT_WEBHOOK_SECRET to be set"):
        with_secrets(settings)


def test_generated_secrets_are_the_owners_only_and_used_again(tmp_path):
    settings = load_settings({"OCTOWAIT_DATA_DIR": str(tmp_path / "data")})

    first, second = with_secrets(settings), with_secrets(settings)

    assert stat.S_IMODE(secrets_file(tmp_path / "data").stat().st_mode) == 0o600
    assert {token.role for token in first.tokens} == {"step", "viewer", "admin"}
    assert (first.webhook_secret, first.tokens) == (second.webhook_secret, second.tokens)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"secrets.env", "witness.key"}


def test_set_secrets_count_before_generated_ones(tmp_path):
    settings = load_settings({"OCTOWAIT_DATA_DIR": str(tmp_path), "OCTOWAIT_WEBHOOK_SECRET": "set-by-hand"})

    complete = with_secrets(settings)

    assert complete.webhook_secret.get_secret_value() == "set-by-hand"
    assert complete.tokens


def test_two_starts_have_different_secrets(tmp_path):
    one, other = (with_secrets(load_settings({"OCTOWAIT_DATA_DIR": str(tmp_path / name)})) for name in ("one", "other"))

    assert one.webhook_secret != other.webhook_secret


@pytest.mark.parametrize(
    ("tokens", "webhook"),
    [("step:a:the-same-secret-as-b,admin:b:the-same-secret-as-b", "w" * 20), (f"admin:b:{'w' * 20}", "w" * 20)],
)
def test_no_two_have_the_same_secret(tokens, webhook):
    """Whoever has the one would be the other: a step an admin, Octopus a person."""
    with pytest.raises(BadSettings, match="admin:b has the secret of .*expected one of its own") as caught:
        load_settings({"OCTOWAIT_TOKENS": tokens, "OCTOWAIT_WEBHOOK_SECRET": webhook})

    assert "the-same" not in str(caught.value) and "www" not in str(caught.value)


def test_secrets_that_can_be_guessed_are_named():
    settings = load_settings({"OCTOWAIT_TOKENS": f"step:a:shorty-1,admin:b:{'x' * 20}", "OCTOWAIT_WEBHOOK_SECRET": "w"})

    assert settings.weak_secrets == ("the token step:a", "the secret of the webhook")


def test_variable_that_is_no_setting_is_named_with_the_one_that_was_meant():
    environ = {
        "OCTOWAIT_PUBLIC_ULR": "https://octowait.example.com", "OCTOWAIT_LEASE": "5", "OCTOWAIT_TOKENS_FILE": "/tokens",
        "OCTOWAIT_BIND": "127.0.0.1:8080", "OCTOWAIT_URL": "https://octowait.example.com", "HOME": "/root",
    }  # fmt: skip

    assert unknown_variables(environ) == {"OCTOWAIT_LEASE": None, "OCTOWAIT_PUBLIC_ULR": "OCTOWAIT_PUBLIC_URL"}
