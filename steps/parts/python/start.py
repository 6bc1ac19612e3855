import base64
import collections
import http.client
import io
import json
import os
import queue
import random
import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse

# Octopus reads UTF-8, line by line.
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "utf-8", "replace", line_buffering=True)
sys.stderr = io.TextIOWrapper(sys.stderr.buffer, "utf-8", "replace", line_buffering=True)

VERSION = 2
# For tests, which cannot wait for minutes.
TIME_DIVISOR = int(os.environ.get("OCTOWAIT_TIME_DIVISOR") or "1")
started = time.monotonic()


def elapsed():
    return time.monotonic() - started
