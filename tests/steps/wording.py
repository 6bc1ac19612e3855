"""The words of the steps, once for the three languages: what the tests expect, and what the parts have to say.

A ``{name}`` stands for what differs from run to run. `pattern` makes an expression of a wording.
"""

from __future__ import annotations

import re

# What ends a step.
REFUSED = "octowait does not let this run wait: {message}"
GAVE_UP = "Gave up after {minutes} min (Octowait.TimeoutMinutes). {last}"
NEVER_ANSWERED = "octowait at {url} has not answered for {seconds} s. {last}"
NOT_PROCEEDING = (
    "octowait at {url} has not answered for {seconds} s, but something else did: not going on without waiting. {last}"
)
PROCEEDING = (
    "octowait at {url} has not answered for {seconds} s: going on WITHOUT waiting, "
    "as Octowait.WhenUnreachable says. {last}"
)
#: Of ``claim``: octowait has answered, but neither with a place nor with a grant.
GAVE_NO_PLACE = "octowait at {url} has given no place for {seconds} s. {last}"
#: Of ``claim``: a grant was read, and no answer to the confirming call.
UNCONFIRMED = "octowait at {url} has not confirmed its grant for {seconds} s. {last}"
NOT_RELEASED = "Not released: {why} octowait frees the machines when it learns that the task has ended."

# What is said on the way.
INTERRUPTED = "octowait did not answer ({reason})."
ASKING_AGAIN = INTERRUPTED + " Asking again until the time-out."
CLAIM_ASKING_AGAIN = INTERRUPTED + " Asking again until {seconds} s have passed."
SHORTER_POLLS = "A blocking call broke off ({reason}): asking in shorter ones from now on."
LOST_PLACE = "The place in the line was lost: joined again at the end."
ASKING_FOR_A_PLACE = "{message} Asking for a place again."
PAUSES = (
    "The manual intervention after this step pauses the deployment without a task slot, "
    "until octowait resumes it or, after {minutes} min (Octowait.TimeoutMinutes), aborts it."
)
DETAILS = "Details: {url}"

# Why octowait did not answer: the reason in INTERRUPTED. {why} is in the words of the client.
NO_NAME = "the name {host} does not resolve ({why}): check Octowait.Url and the name servers of this worker"
NO_PROXY_NAME = "the name of the proxy {proxy} does not resolve ({why})"
NO_CONNECTION = "no connection to {host}:{port} ({why})"
NO_PROXY_CONNECTION = "no connection to the proxy {proxy} ({why})"
NO_TIME = "no whole answer within {seconds} s"
CUT = "the answer broke off"
CERTIFICATE = (
    "the certificate of {host} is not accepted: {why}; if an authority of your own signed it, "
    "put the authority into this worker's store or SSL_CERT_FILE"
)
NO_TLS = "no TLS connection with {host} ({why})"
NOT_HTTP = "no HTTP answer ({why})"
NOT_OCTOWAIT = "HTTP {status}: not an answer of octowait"
REDIRECT = NOT_OCTOWAIT + "; redirects are not followed, so Octowait.Url must be the address itself"
#: After each reason that a proxy may have had a part in; without its user and password.
THROUGH = ", through the proxy {proxy}"
PROXY_USER = (
    "HTTP 407: not an answer of octowait, through the proxy {proxy}; "
    "a user and a password for it can stand in Octowait.Proxy"
)
PROXY_OF_ENVIRONMENT = "{name} is '***': expected http://proxy.example.com:3128"
#: octowait's own refusals and troubles.
PROBLEM = "HTTP {status}: {detail}"
#: 401 and 403.
TOKEN = PROBLEM + " (see Octowait.Token: a release keeps the variables that it was made with)"

# What is wrong with a parameter; joined with "; ", and a full stop at the end.
EXPRESSION = "{name} contains '{expression}', which Octopus did not resolve: expected a variable of that name in scope"
URL = "Octowait.Url is '{value}': expected an address such as https://octowait.example.com"
URL_USER = "Octowait.Url has a user or a password in it: expected an address such as https://octowait.example.com"
PROXY = (
    "Octowait.Proxy is '***': expected nothing, none, or an address with a port such as http://proxy.example.com:3128"
)
CLAIM = "Octowait.Claim is '{value}': expected nothing, or the output variable Octowait.Claim of the wait or claim step"

# Where a step runs.
ON_TARGET_WAIT = (
    "This step runs on the deployment target {target} and would block the very deployment it waits for: "
    "run it on a worker or on the Octopus Server, or set OctopusBypassDeploymentMutex to True."
)
ON_TARGET_CLAIM = (
    "This step runs on the deployment target {target} and would wait there for other scripts, in a task slot "
    "and before it has a place in line: run it on a worker or on the Octopus Server, "
    "or set OctopusBypassDeploymentMutex to True."
)
BEHALF = (
    "This step runs on a worker on behalf of the deployment target {target}, once for each target: "
    "let it run once, on a worker or on the Octopus Server."
)
MUTEX = (
    "OctopusBypassDeploymentMutex is '{value}': this step would keep its worker to itself while it waits, and the "
    "release step of the run that it waits for could not run there: remove the variable or set it to True."
)
NO_CURL = "curl is not on this worker: the Bash steps need it, the Python and PowerShell steps do not."

#: Characters of a printed line; what is longer is cut and gets " ...".
LINE_LIMIT = 2000


def pattern(wording: str, **values: object) -> str:
    """An expression that finds *wording* with *values*; a name without a value stands for any text in a line."""
    parts = re.split(r"\{(\w+)\}", wording)
    found = ""
    for index, part in enumerate(parts):
        if index % 2 == 0:
            found += re.escape(part)
        else:
            found += re.escape(str(values[part])) if part in values else ".+"
    return found
