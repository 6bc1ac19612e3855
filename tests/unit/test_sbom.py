"""An SBOM that is not what the lock says is not taken for one."""

import app
from tests.sbom import rooted, strangers

LOCK = "flask==3.1.3 \\\n    --hash=sha256:aa\n    # via -r requirements.txt\nzope-event==6.2 ; os_name == 'nt' \\\n"


def test_components_of_the_lock_are_no_strangers():
    assert strangers({"components": [{"name": "Flask", "version": "3.1.3"}, {"name": "zope.event", "version": "6.2"}]},
                     LOCK) == {}  # fmt: skip


def test_component_of_another_version_or_of_no_lock_is_a_stranger():
    bom = {"components": [{"name": "Flask", "version": "3.1.2"}, {"name": "leftpad", "version": "1"}, {"name": "x"}]}

    assert strangers(bom, LOCK) == {"flask": "3.1.2", "leftpad": "1", "x": "none"}


def test_octowait_itself_has_a_version_and_needs_what_it_asks_for():
    bom = {
        "metadata": {"component": {"bom-ref": "root", "name": "octowait"}},
        "components": [{"bom-ref": "Flask==3.1.3", "name": "Flask"}, {"bom-ref": "six==1", "name": "six"}],
        "dependencies": [{"ref": "root"}, {"ref": "Flask==3.1.3", "dependsOn": ["six==1"]}],
    }

    described = rooted(bom, "# comment\nflask==3.1.3\n")

    assert described["metadata"]["component"]["version"] == app.__version__
    assert described["dependencies"] == [
        {"ref": "Flask==3.1.3", "dependsOn": ["six==1"]}, {"ref": "root", "dependsOn": ["Flask==3.1.3"]},
    ]  # fmt: skip
