"""Commands that write to Octopus: ``subscription`` and ``templates``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app import __version__
from app.cli.command import REFUSED, Overview, as_json, command, fail
from app.cli.printing import print_json, print_lines

if TYPE_CHECKING:
    from app.octopus.client import OctopusClient
    from app.provision.subscriptions import SubscriptionOutcome
    from app.settings import Settings

_of_space = click.option("--space", help="Only this space, an id or a name; else OCTOWAIT_OCTOPUS_SPACES, else all.")


@contextmanager
def octopus_of(settings: Settings) -> Iterator[OctopusClient]:
    """A client for OCTOPUS_URL, for a person who waits.

    Raises:
        BadSettings: OCTOPUS_URL or OCTOPUS_API_KEY is not set.
        CannotReach: inside, Octopus did not answer.
        Refused: inside, it answered with an error, or has not what is needed.
    """
    from app.client.api import CannotReach, Refused
    from app.octopus.ask import make_client
    from app.octopus.errors import OctopusBusy, OctopusError, OctopusUnreachable
    from app.provision.subscriptions import NoRunCategories, NoSuchSpace
    from app.settings import PREFIX, BadSettings

    client = make_client(settings, None, attempts=2, patience=30.0)
    if client is None:
        missing = [name for name in ("octopus_url", "octopus_api_key") if not getattr(settings, name)]
        raise BadSettings(f"{' and '.join(PREFIX + name.upper() for name in missing)}: expected to be set")
    try:
        yield client
    except (OctopusUnreachable, OctopusBusy) as error:
        raise CannotReach(str(error)) from error
    except NoSuchSpace as error:
        raise Refused(404, "no_space", str(error)) from error
    except NoRunCategories as error:
        raise Refused(502, "no_categories", str(error)) from error
    except OctopusError as error:
        raise Refused(502, "octopus", str(error)) from error
    finally:
        client.close()


@click.group("subscription", cls=Overview)
def subscription() -> None:
    """Let Octopus tell octowait what happens: one subscription in each space.

    Needs OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY.
    """


@command(
    "ensure",
    "octowait subscription ensure --dry-run\noctowait subscription ensure --space Spaces-1",
    group=subscription,
)
@click.option("--webhook-url", help="Where Octopus posts to.  [default: OCTOWAIT_PUBLIC_URL/webhooks/octopus]")
@click.option("--dry-run", is_flag=True, help="Change nothing; exit status 1 means that something would change.")
@click.option("--rotate-secret", is_flag=True, help="Write the secret also when nothing else is to change.")
@as_json
@_of_space
def subscription_ensure(
    space: str | None, webhook_url: str | None, dry_run: bool, rotate_secret: bool, as_json: bool
) -> None:
    """Create the subscription where it is missing and correct it where it is not as it should be."""
    from app.provision.subscriptions import ensure_all
    from app.settings import load_settings

    settings = load_settings()
    with octopus_of(settings) as octopus:
        outcomes = ensure_all(
            octopus, settings, space=space, webhook_url=webhook_url, dry_run=dry_run, rotate=rotate_secret
        )
    _tell_outcomes(settings, outcomes, as_json)


@command("show", "octowait subscription show", group=subscription)
@as_json
@_of_space
def subscription_show(space: str | None, as_json: bool) -> None:
    """Show the subscription of each space, and when Octopus last looked for events for it."""
    from app.provision.subscription_wording import fact_lines, facts_of_all
    from app.provision.subscriptions import name_of
    from app.settings import load_settings

    settings = load_settings()
    with octopus_of(settings) as octopus:
        subscriptions = facts_of_all(octopus, settings, space)
    if as_json:
        print_json(subscriptions)
        return
    for facts in subscriptions:
        print_lines(fact_lines(facts, name_of(settings)))


@command("remove", "octowait subscription remove --space Spaces-1 --dry-run", group=subscription)
@click.option("--dry-run", is_flag=True, help="Remove nothing; exit status 1 means that something would be.")
@as_json
@_of_space
def subscription_remove(space: str | None, dry_run: bool, as_json: bool) -> None:
    """Delete the subscription that 'ensure' made, and no other."""
    from app.provision.subscriptions import remove_all
    from app.settings import load_settings

    settings = load_settings()
    with octopus_of(settings) as octopus:
        outcomes = remove_all(octopus, settings, space=space, dry_run=dry_run)
    _tell_outcomes(settings, outcomes, as_json)


def _tell_outcomes(settings: Settings, outcomes: Sequence[SubscriptionOutcome], as_json: bool) -> None:
    """Print *outcomes* and end with status 1 where something failed or is still to be done."""
    from app.provision.subscription_wording import outcome_lines
    from app.provision.subscriptions import name_of

    if as_json:
        print_json([outcome.as_json() for outcome in outcomes])
    else:
        for outcome in outcomes:
            print_lines(outcome_lines(name_of(settings), outcome))
    if any(outcome.outcome == "failed" or outcome.outcome.startswith("would_") for outcome in outcomes):
        sys.exit(REFUSED)


@click.group(cls=Overview)
def templates() -> None:
    """Make step templates of Octopus from the wait, claim and release steps."""


@command("build", "octowait templates build --out step-templates", group=templates)
@click.option("--out", default="step-templates", show_default=True, help="Directory for the files; made if missing.",
              type=click.Path(file_okay=False, path_type=Path))  # fmt: skip
def build(out: Path) -> None:
    """Write one JSON file for each step and language, to be imported into Octopus."""
    from app.provision.step_templates import StepsNotFound, write_templates

    try:
        files = write_templates(out, built_at=datetime.now(UTC), version=__version__)
    except (StepsNotFound, OSError) as error:
        fail(str(error), REFUSED)
    print_lines([str(file) for file in files])


@command("upload", "octowait templates upload --dry-run", group=templates)
@_of_space
@click.option("--dry-run", is_flag=True, help="Change nothing; exit status 1 means that something would change.")
@as_json
def upload(space: str | None, dry_run: bool, as_json: bool) -> None:
    """Create or update the step templates in Octopus; needs OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY."""
    from app.provision.step_templates import build_templates
    from app.provision.subscriptions import choose_spaces
    from app.provision.template_upload import upload as upload_to
    from app.settings import load_settings

    settings = load_settings()
    built = list(build_templates(built_at=datetime.now(UTC), version=__version__).values())
    with octopus_of(settings) as octopus:
        spaces = choose_spaces(octopus, settings, space)
        done = [each for one in spaces for each in upload_to(octopus, one, built, dry_run=dry_run)]
    if as_json:
        print_json([vars(each) for each in done])
    else:
        print_lines([f"{each.space_id}: {each.action:9} {each.name}" for each in done])
    sys.exit(REFUSED if dry_run and any(each.action != "unchanged" for each in done) else 0)
