"""The functions that Octopus gives a Python script, as far as the steps use them.

Written for these tests, with the names, the exit status and the service messages of Calamari's Configuration.py.

octopus_bootstrap.py VARIABLES SCRIPT [MODULE]; VARIABLES is a JSON object, MODULE is run first, in the same scope.
It runs on Python 3.6 as the steps do.
"""

import base64
import json
import sys
from runpy import run_path

with open(sys.argv[1], encoding="utf-8") as variables_file:
    octopusvariables = json.load(variables_file)


def encode(value):
    return base64.b64encode(value.encode("utf-8")).decode("utf-8")


def get_octopusvariable(key):
    return octopusvariables.get(key, "")


def set_octopusvariable(name, value, sensitive=False):
    octopusvariables[name] = value
    mark = f" sensitive='{encode('True')}'" if sensitive else ""
    print(f"##octopus[setVariable name='{encode(name)}' value='{encode(value)}'{mark}]")


def updateprogress(progress, message=None):
    # None has no encode: the real one raises here too.
    print(f"##octopus[progress percentage='{encode(str(progress))}' message='{encode(message)}']")


def failstep(message=None):
    if message is not None:
        print(f"##octopus[resultMessage message='{encode(message)}']")
    sys.exit(-1)


def print_level(level, message):
    print(f"##octopus[stdout-{level}]")
    print(message)
    print("##octopus[stdout-default]")


def printverbose(message):
    print_level("verbose", message)


def printhighlight(message):
    print_level("highlight", message)


def printwait(message):
    print_level("wait", message)


def printwarning(message):
    print_level("warning", message)


if len(sys.argv) > 3:
    with open(sys.argv[3], encoding="utf-8") as module_file:
        exec(module_file.read(), globals())

run_path(sys.argv[2], dict(globals()), "__main__")
