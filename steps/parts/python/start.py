import collections
import http.client
import io
import json
import os
import random
import re
import sys
import time
import urllib.error
import urllib.request

# Octopus reads UTF-8, line by line.
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "utf-8", "replace", line_buffering=True)
sys.stderr = io.TextIOWrapper(sys.stderr.buffer, "utf-8", "replace", line_buffering=True)

started = time.monotonic()


def elapsed():
    return time.monotonic() - started
