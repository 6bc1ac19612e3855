# wait.py: wait until this run may have all its machines to itself (steps/README.md).
# wait.sh and wait.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/python.
# ruff: noqa: F821
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


VERB = "wait"
PARKED = False
FIRST_CONTACT_SECONDS = 300 / TIME_DIVISOR
SAY_AGAIN_SECONDS = 60 / TIME_DIVISOR
REDIS_BLOCK_SECONDS = 25
DURATION_PATTERN = r" for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$"

# Octopus looks for its commands at every character of what a script prints, whoever said it first.
LINE_LIMIT = 2000
CONTROL_CHARACTERS = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def clean(text):
    text = re.sub(CONTROL_CHARACTERS, " ", text)
    if len(text) > LINE_LIMIT:
        text = text[:LINE_LIMIT] + " ..."
    return re.sub(r"#(?=#|\Z)", "# ", text)


def say(text):
    print(clean(text), flush=True)


def say_wait(text):
    printwait(clean(text))


def say_highlight(text):
    printhighlight(clean(text))


def say_warning(text):
    printwarning(clean(text))


def fail(text):
    sys.stdout.flush()
    print(clean(text), file=sys.stderr, flush=True)
    failstep(clean(text))
    sys.exit(1)  # whatever failstep does


# Parameters come as variables of Octopus. What is wrong with them is collected and told in one go.
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}\Z"
EXPRESSION_PATTERN = r"#\{(?:[^{}]*\})?"
ONE_EXPRESSION = r"#\{[^{}]+\}\Z"
problems = []


def variable(name):
    try:
        return get_octopusvariable(name) or ""
    except KeyError:  # how older versions say that there is none
        return ""


def parameter(name, default, not_set=r"\Z"):
    value = variable(name).strip()
    # Octopus leaves an expression that it cannot resolve as it stands.
    if re.match(not_set, value):
        value = ""
    for expression in re.findall(EXPRESSION_PATTERN, value):
        problems.append(
            f"{name} contains '{expression}', which Octopus did not resolve: expected a variable of that name in scope"
        )
    return value or default


def problem(name, value, expected):
    if any(text.startswith(name + " contains ") for text in problems):
        return  # an unresolved expression says it all
    problems.append(f"{name} is '{value}': expected {expected}")


# The two addresses that people give.
HOST_PATTERN = r"([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])"
URL_PATTERN = r"([Hh][Tt][Tt][Pp][Ss]?)://" + HOST_PATTERN + r"(?::([0-9]{1,5}))?(/[!-~]*)?\Z"
PROXY_PATTERN = r"[Hh][Tt][Tt][Pp]://(?:[^\s@/\"\\]+@)?" + HOST_PATTERN + r":([0-9]{1,5})/?\Z"


def is_port(text):
    return 1 <= int(text) <= 65535


def is_url(text):
    match = re.match(URL_PATTERN, text)
    return bool(match) and not re.search(r"[\"\\?{}#@]", text) and is_port(match.group(3) or "80")


def is_proxy(text):
    match = re.match(PROXY_PATTERN, text)
    return bool(match) and is_port(match.group(2))


Route = collections.namedtuple("Route", "is_tls, host, port, proxy")


def is_excepted(host, port):
    # NO_PROXY: names with all below them, with or without a port; or everything.
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    for name in re.split(r"[,\s]+", listed.lower()):
        if name == "*":
            return True
        if name.endswith(":" + str(port)) and name.count(":") == 1:
            name = name.rpartition(":")[0]
        name = name.lstrip(".")
        if name and (host == name or host.endswith("." + name)):
            return True
    return False


class NoRoute(Exception):
    pass


def find_route():
    # The parameter, else the environment as Octopus sets it for a worker with a proxy.
    parts = urllib.parse.urlsplit(url)
    scheme, host = parts.scheme.lower(), parts.hostname
    port = parts.port or {"http": 80, "https": 443}[scheme]
    named = proxy
    if not named and not is_excepted(host, port):
        named = os.environ.get(scheme + "_proxy") or os.environ.get(scheme.upper() + "_PROXY") or ""
    if named.lower() in ("", "none"):
        return Route(scheme == "https", host, port, None)
    if "://" not in named:
        named = "http://" + named
    if not is_proxy(named) and not is_proxy(named.rstrip("/") + ":80"):
        raise NoRoute(f"{scheme.upper()}_PROXY is '***': expected http://proxy.example.com:3128")
    return Route(scheme == "https", host, port, urllib.parse.urlsplit(named))


def proxy_name(route):
    # Without its user and password.
    return f"http://{route.proxy.hostname}:{route.proxy.port or 80}"


def through():
    route = find_route()
    return f", through the proxy {proxy_name(route)}" if route.proxy else ""


def proxy_headers(route):
    if not route.proxy or not route.proxy.username:
        return {}
    user, password = urllib.parse.unquote(route.proxy.username), urllib.parse.unquote(route.proxy.password or "")
    return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


claim = os.urandom(16).hex()  # of this execution of the step


# One call: its status and text; or no status, and in reason why not. Silence: there may be nobody at all.
Reply = collections.namedtuple("Reply", "status, text, retry_after, is_silence, reason")

CALL_SECONDS = 20  # beyond the time that a call blocks
ADDRESS_SECONDS = 5  # for each address of a name
MOST_BYTES = 2 * 1024 * 1024
good_address = None
was_refused = False


class NoConnection(Exception):
    pass


class Refused(NoConnection):
    pass


def connect_to_any(where, timeout=None, source_address=None):
    # A dead address must not take the time of the next; the one that was alive is asked first.
    global good_address
    found = socket.getaddrinfo(where[0], where[1], 0, socket.SOCK_STREAM)
    found.sort(key=lambda info: info[4] != good_address)
    reason, kind_of_failure = "it has no address", NoConnection
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(min(ADDRESS_SECONDS, timeout))
            connection.connect(address)
            connection.settimeout(timeout)
            good_address = address
            return connection
        except OSError as error:
            connection.close()
            reason = f"{address[0]}: {error}"
            kind_of_failure = Refused if isinstance(error, ConnectionRefusedError) else NoConnection
    raise kind_of_failure(reason)


def open_connection(route, limit):
    if route.is_tls:
        context = ssl.create_default_context()
        # Python 3.13 and newer refuse many authorities of companies that every other client takes.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        connect, more = http.client.HTTPSConnection, {"context": context}
    else:
        connect, more = http.client.HTTPConnection, {}
    if not route.proxy:
        connection = connect(route.host, route.port, timeout=limit, **more)
    else:
        connection = connect(route.proxy.hostname, route.proxy.port or 80, timeout=limit, **more)
        if route.is_tls:
            connection.set_tunnel(route.host, route.port, headers=proxy_headers(route))
    connection._create_connection = connect_to_any
    return connection


def headers(route):
    named = {
        "Authorization": "Bearer " + token,
        "Accept": "application/json",
        "Content-Type": "application/json; charset=utf-8",
        "Connection": "close",
        "User-Agent": f"octowait-{VERB}/{VERSION} (python)",
        "X-Octowait-Version": str(VERSION),
    }
    if claim:
        named["X-Octowait-Claim"] = claim
    if seen:
        named["X-Octowait-Seen"] = seen
    if not route.is_tls:
        named.update(proxy_headers(route))
    return named


def exchange(connection, route, method, query, body):
    path = urllib.parse.urlsplit(url).path + "/api/waits/" + task + query
    if route.proxy and not route.is_tls:
        path = "http://" + urllib.parse.urlsplit(url).netloc + path
    connection.request(method, path, body, headers(route))
    response = connection.getresponse()
    data = response.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        data = b""
    elif len(data) < int(response.getheader("Content-Length") or 0):
        raise ConnectionError()
    after = response.getheader("Retry-After") or ""
    retry_after = int(after) if re.match(r"[0-9]{1,9}\Z", after) else 0
    return Reply(response.status, data.decode("utf-8", "replace"), retry_after, False, "")


def no_answer(reason, is_silence):
    return Reply(0, "", 0, is_silence, reason)


def explain(error, route):
    # Why there is no answer, and what to do about it.
    why = str(error) or type(error).__name__
    refused = re.match(r"Tunnel connection failed: ([0-9]{3})", why)
    if refused:
        return Reply(int(refused.group(1)), "", 0, False, "")
    if isinstance(error, (socket.gaierror, UnicodeError)):
        if route.proxy:
            return no_answer(f"the name of the proxy {proxy_name(route)} does not resolve ({why})", True)
        remedy = "check Octowait.Url and the name servers of this worker"
        return no_answer(f"the name {route.host} does not resolve ({why}): {remedy}", True)
    if isinstance(error, NoConnection):
        where = f"the proxy {proxy_name(route)}" if route.proxy else f"{route.host}:{route.port}"
        return no_answer(f"no connection to {where} ({why})", True)
    if isinstance(error, ssl.CertificateError) or getattr(error, "reason", "") == "CERTIFICATE_VERIFY_FAILED":
        why = getattr(error, "verify_message", "") or why
        remedy = "if an authority of your own signed it, put the authority into this worker's store or SSL_CERT_FILE"
        return no_answer(f"the certificate of {route.host} is not accepted: {why}; {remedy}{through()}", False)
    if isinstance(error, ssl.SSLError):
        return no_answer(f"no TLS connection with {route.host} ({why}){through()}", False)
    if isinstance(error, (OSError, http.client.IncompleteRead)):
        return no_answer(f"the answer broke off{through()}", True)
    return no_answer(f"no HTTP answer ({why}){through()}", False)


def call(method, query, body, limit):
    # In a thread of its own: only so there is a limit for all of it, names included.
    global was_refused
    was_refused = False
    try:
        route = find_route()
    except NoRoute as error:
        return no_answer(str(error), False)
    connection = open_connection(route, limit)
    replies = queue.Queue()

    def run():
        try:
            replies.put((exchange(connection, route, method, query, body), False))
        except Exception as error:
            replies.put((explain(error, route), isinstance(error, Refused)))

    threading.Thread(target=run, daemon=True).start()
    try:
        reply, was_refused = replies.get(timeout=limit)
        return reply
    except queue.Empty:
        pass
    try:
        connection.sock.shutdown(socket.SHUT_RDWR)
    except (AttributeError, OSError):
        pass  # not connected yet, or no more
    return no_answer(f"no whole answer within {limit} s{through()}", True)


# Besides octowait's own states: silence (there may be nobody), heard (something else answered), busy (it will pass),
# unknown (octowait does not know this run), token (it is refused), rejected (asking again is no use).
Answer = collections.namedtuple("Answer", "state, number, message, is_new, retry_after, status, more")

STATES = ("waiting", "granted", "expired", "left", "refused", "released", "timed_out", "nothing")
INTERRUPTED = ("silence", "heard", "busy", "token")
WORD_PATTERN = r"[!-~]{1,200}\Z"
CLAIM_PATTERN = r"[A-Za-z0-9_-]{16,64}\Z"
DETAILS_PATTERN = r"https?://[A-Za-z0-9._~:/?&=%+@-]{1,2000}\Z"
seen = ""  # the last word of the server that is said again in the next call


def word(answer, name, pattern=WORD_PATTERN):
    value = answer.more.get(name)
    return value if isinstance(value, str) and re.match(pattern, value) else ""


def parse(text):
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def ask(method, query="", body=None, limit=CALL_SECONDS):
    global seen
    reply = call(method, query, body, limit)
    answer = read(method, reply, parse(reply.text))
    seen = word(answer, "seen") or seen
    return answer


def read(method, reply, found):
    def answer(state, message, number=0, more=None):
        return Answer(state, number, message, reply.status == 201, reply.retry_after, reply.status, more or {})

    if not reply.status:
        return answer("silence" if reply.is_silence else "heard", reply.reason)
    state = found.get("state") or found.get("outcome")
    if reply.status in (200, 201) and state in STATES:
        number = found.get("fencing_token") or found.get("place") or 0
        return answer(state, str(found.get("message") or ""), number, found)
    if reply.status in (200, 201) and not found and reply.text.lstrip().startswith("{"):
        return answer("silence", "the answer broke off" + through())
    code, detail = found.get("code"), found.get("detail")
    if reply.status < 400 or not isinstance(code, str) or not isinstance(detail, str):
        return answer("silence" if reply.status in (502, 503, 504) else "heard", foreign(reply.status))
    message = f"HTTP {reply.status}: {detail}"
    if reply.status in (401, 403):
        message += " (see Octowait.Token: a release keeps the variables that it was made with)"
    if reply.status == 401:
        return answer("token", message)
    if reply.status == 404 and method == "GET":
        return answer("unknown", message)
    if reply.status in (408, 429) or reply.status >= 500 or code == "unknown_run":
        return answer("busy", message)
    return answer("rejected", message)


def foreign(status):
    if status == 407 and find_route().proxy:
        remedy = "a user and a password for it can stand in Octowait.Proxy"
        return f"HTTP {status}: not an answer of octowait{through()}; {remedy}"
    remedy = ""
    if 300 <= status < 400:
        remedy = "; redirects are not followed, so Octowait.Url must be the address itself"
    return f"HTTP {status}: not an answer of octowait{remedy}{through()}"


PAUSE_SECONDS = float(os.environ.get("OCTOWAIT_RETRY_BASE_SECONDS") or "1")
MOST_RETRY_AFTER_SECONDS = 30 / TIME_DIVISOR
failures = 0


def draw_pause(most):
    # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
    return PAUSE_SECONDS * min(most, 2 ** min(failures, 5)) * random.uniform(0.5, 1)


def pause(retry_after, until):
    seconds = max(draw_pause(30), min(retry_after, MOST_RETRY_AFTER_SECONDS))
    time.sleep(max(0, min(seconds, until - elapsed())))


# How long a call blocks: shorter after one that broke off, for what stands between may cut long ones.
BLOCK_SECONDS = (50, 25, 12, 6)
WHOLE_POLLS = 10  # before a longer one is tried again
POLL_APART_SECONDS = 1
# Of a connection that is refused, before the pauses grow: a server that restarts is back in seconds, and to refuse one
# costs nobody anything.
QUICK_TRIES = 12
block_index = 0
whole_polls = 0
refusals = 0
polled_at = -POLL_APART_SECONDS


def block_seconds():
    return min(BLOCK_SECONDS[block_index], int(timeout_seconds - elapsed()) + 1)


def keep_apart():
    # From the poll before, if that told nothing new.
    global polled_at
    if not told_news:
        time.sleep(max(0, POLL_APART_SECONDS - (elapsed() - polled_at)))
    polled_at = elapsed()


def poll_was_whole():
    global block_index, whole_polls
    whole_polls += 1
    if whole_polls >= WHOLE_POLLS and block_index > 0:
        block_index, whole_polls = block_index - 1, 0


def poll_broke_off(reason):
    global block_index, whole_polls, said_shorter
    block_index, whole_polls = min(block_index + 1, len(BLOCK_SECONDS) - 1), 0
    if not said_shorter:
        said_shorter = True
        say_wait(f"A blocking call broke off ({reason}): asking in shorter ones from now on.")


def is_asked_again():
    # A poll that nobody heard, as it was: the place is what it was. After longer it may be lost: join.
    return was_refused and refusals < QUICK_TRIES


def is_first_refusal():
    # Of which nothing is said: behind a balancer that has lost a backend each other poll is refused.
    return was_refused and refusals == 0


def count_failure():
    global failures, refusals
    if is_asked_again():
        refusals += 1
    else:
        failures += 1


SILENCE_SECONDS = 120 / TIME_DIVISOR  # before "proceed" goes on
TOKEN_SECONDS = 60 / TIME_DIVISOR  # for a token that was good before
has_answered = False  # octowait itself, if only with a problem
heard = ""  # what else answered in its place
refused_since = None
last_message = "octowait has not answered."


def is_refused(answer):
    # Asking again is no use. A token may be refused for a moment while octowait restarts.
    global refused_since
    if answer.state != "token":
        if answer.state not in ("silence", "heard"):
            refused_since = None
        return answer.state == "rejected"
    if refused_since is None:
        refused_since = elapsed()
    return not has_answered or elapsed() - refused_since >= TOKEN_SECONDS


def listen(answer):
    global has_answered, heard
    if answer.state == "heard":
        heard = answer.message
    elif answer.state != "silence":
        has_answered = True


def patience():
    # Seconds that a step asks without having reached octowait.
    if when_unreachable == "proceed" and not heard:
        return min(timeout_seconds, SILENCE_SECONDS)
    return min(timeout_seconds, FIRST_CONTACT_SECONDS)


def never_answered():
    ask("DELETE", f"?reason=unreachable%20for%20the%20{VERB}%20step", limit=5)
    silence = f"octowait at {url} has not answered for {int(elapsed())} s"
    if when_unreachable == "fail":
        fail(f"{silence}. {last_message}")
    if heard:
        other = f"octowait did not answer ({heard})."
        fail(f"{silence}, but something else did: not going on without waiting. {other}")
    why = "as Octowait.WhenUnreachable says"
    say_warning(f"{silence}: going on WITHOUT waiting, {why}. {last_message}")
    finish("unreachable", 0)


knows_claims = False  # the server has said our claim, so a grant has to be confirmed
family_set = ""
details_said = False


def note(answer):
    # What an answer says besides.
    global knows_claims, family_set, details_said
    if word(answer, "claim") == claim and not knows_claims:
        knows_claims = True
        set_octopusvariable("Octowait.Claim", claim)
    family = word(answer, "family")
    if family and family != family_set:
        family_set = family
        set_octopusvariable("Octowait.Family", family, True)
    details = word(answer, "details", DETAILS_PATTERN)
    if details and not details_said:
        details_said = True
        say(f"Details: {details}")


def finish(state, number):
    set_octopusvariable("Octowait.State", state)
    set_octopusvariable("Octowait.FencingToken", str(number))
    set_octopusvariable("Octowait.WaitedSeconds", str(int(elapsed())))
    sys.stdout.flush()
    sys.exit(0)


def show(key, text):
    # A line at each change, else one a minute as a sign of life. True if it is news.
    global shown_key, shown_at
    is_news = key != shown_key
    if is_news or elapsed() - shown_at >= SAY_AGAIN_SECONDS:
        shown_key, shown_at = key, elapsed()
        say_wait(text)
        if "updateprogress" in globals():  # Octopus before 2019.7 has none
            updateprogress(min(99, int(elapsed() * 100 / timeout_seconds)), clean(text))
        sys.stdout.flush()
    return is_news


def key_of(answer):
    # What is compared to tell news. Without a word for it: all but durations, and what is expected.
    text = re.sub(DURATION_PATTERN, "", answer.message.split(" Expected ")[0])
    return word(answer, "news") or f"{answer.number} {text}"


def woken(seconds):
    # Blocks on Redis; false when that is not possible and the call itself shall block.
    global redis_client
    if redis_client is None or not wake_key:
        return False
    try:
        redis_client.blpop([wake_key], timeout=min(seconds, REDIS_BLOCK_SECONDS))
        return True
    except Exception as error:
        say_warning(f"Octowait.RedisUrl is not usable here ({error}): blocking over HTTP.")
        redis_client = None
        return False


def poll():
    keep_apart()
    block = max(1, block_seconds())
    if woken(block):
        # Not 0, which asks whether the grant is confirmed: nobody was told of it yet.
        block = 1
    return ask("GET", f"?block_seconds={block}", limit=block + CALL_SECONDS)


def end():
    # Seconds since the start at which it gives up.
    return timeout_seconds if has_answered else patience()


def give_up():
    if not has_answered:
        never_answered()
    ask("DELETE", "?reason=time-out%20of%20the%20wait%20step", limit=5)
    fail(f"Gave up after {timeout_minutes} min (Octowait.TimeoutMinutes). {last_message}")


# 1. Check the parameters.
task = variable("Octopus.Task.Id")
url = parameter("Octowait.Url", "").rstrip("/")
token = parameter("Octowait.Token", "")
proxy = parameter("Octowait.Proxy", "", ONE_EXPRESSION)
OWN_MACHINES = r"(?:[,;\s]*|#\{Octopus\.Deployment\.Machines\})\Z"
machine_list = parameter("Octowait.Machines", variable("Octopus.Deployment.Machines"), OWN_MACHINES)
machines = [machine.strip() for machine in re.split(r"[,;\n]", machine_list) if machine.strip()]

if not re.match(ID_PATTERN, task):
    problem("Octopus.Task.Id", task, "an id such as ServerTasks-4711")
if "@" in url:
    problems.append(
        "Octowait.Url has a user or a password in it: expected an address such as https://octowait.example.com"
    )
elif not is_url(url):
    problem("Octowait.Url", url, "an address such as https://octowait.example.com")
if not re.match(r"[!-~]+\Z", token):
    problem("Octowait.Token", "***" if token else "", "a token of the role step")
if proxy.lower() not in ("", "none") and not is_proxy(proxy):
    problem("Octowait.Proxy", "***", "nothing, none, or an address with a port such as http://proxy.example.com:3128")

redis_url = parameter("Octowait.RedisUrl", "", ONE_EXPRESSION)
timeout_minutes = parameter("Octowait.TimeoutMinutes", "120", ONE_EXPRESSION)
priority = parameter("Octowait.Priority", "0", ONE_EXPRESSION)
on_behalf_of = parameter("Octowait.OnBehalfOf", "", ONE_EXPRESSION)
when_unreachable = parameter("Octowait.WhenUnreachable", "fail", ONE_EXPRESSION)

timeout_seconds = 0
if re.match(r"[0-9]{1,5}(\.[0-9]{1,3})?\Z", timeout_minutes):
    timeout_seconds = int(round(float(timeout_minutes) * 1000)) * 60 // 1000

if not 1 <= timeout_seconds <= 604800:
    problem("Octowait.TimeoutMinutes", timeout_minutes, "minutes above 0, at most 10080")
if not re.match(r"-?[0-9]{1,7}\Z", priority) or not -1000000 <= int(priority) <= 1000000:
    problem("Octowait.Priority", priority, "a whole number from -1000000 to 1000000")
if on_behalf_of and not re.match(ID_PATTERN, on_behalf_of):
    problem("Octowait.OnBehalfOf", on_behalf_of, "nothing, or an id such as ServerTasks-4711")
if when_unreachable.lower() not in ("fail", "proceed"):
    problem("Octowait.WhenUnreachable", when_unreachable, "fail or proceed")
when_unreachable = when_unreachable.lower()
for machine in machines:
    if not re.match(ID_PATTERN, machine):
        problem("Octowait.Machines", machine, "ids such as Machines-7, separated by commas")
if problems:
    fail("; ".join(problems) + ".")

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
# The deployment target whose mutex this script holds; with OctopusBypassDeploymentMutex it holds none.
target = variable("Octopus.Machine.Id")
mutex = variable("OctopusBypassDeploymentMutex").strip()
if mutex.lower() == "true":
    target = ""
elif mutex and not target:
    fail(
        f"OctopusBypassDeploymentMutex is '{mutex}': this step would keep its worker to itself while it waits, and the "
        "release step of the run that it waits for could not run there: remove the variable or set it to True."
    )
if target and variable("Octopus.WorkerPool.Id"):
    fail(
        f"This step runs on a worker on behalf of the deployment target {target}, once for each target: "
        "let it run once, on a worker or on the Octopus Server."
    )

if target:
    fail(
        f"This step runs on the deployment target {target} and would block the very deployment "
        "it waits for: run it on a worker or on the Octopus Server, "
        "or set OctopusBypassDeploymentMutex to True."
    )

# 3. No machines: nothing to wait for.
if not machines:
    say_highlight("This deployment has no machines: nothing to wait for.")
    finish("no_machines", 0)

redis_client = None
if redis_url:
    try:
        import redis

        limits = {"socket_connect_timeout": 10, "socket_timeout": REDIS_BLOCK_SECONDS + 20}
        redis_client = redis.Redis.from_url(redis_url, **limits)
    except (ImportError, ValueError) as error:
        say_warning(f"Octowait.RedisUrl is not usable here ({error}): blocking over HTTP.")


# 4. Say who we are.
def named(kind, name_variable, label):
    thing = {"id": variable(kind + ".Id") or None, label: variable(name_variable) or None}
    return thing if any(thing.values()) else None


server = (variable("Octopus.Web.ServerUri") or variable("Octopus.Web.BaseUrl")).rstrip("/")
link = variable("Octopus.Web.DeploymentLink") or variable("Octopus.Web.RunbookRunLink")
body = json.dumps(
    {
        "space_id": variable("Octopus.Space.Id") or None,
        "machines": machines,
        "deployment_id": variable("Octopus.Deployment.Id") or None,
        "runbook_run_id": variable("Octopus.RunbookRun.Id") or None,
        "project": named("Octopus.Project", "Octopus.Project.Name", "name"),
        "environment": named("Octopus.Environment", "Octopus.Environment.Name", "name"),
        "release": named("Octopus.Release", "Octopus.Release.Number", "version"),
        "tenant": named("Octopus.Deployment.Tenant", "Octopus.Deployment.Tenant.Name", "name"),
        "url": server + link if re.match(r"https?://", server) and link else None,
        "priority": int(priority),
        "timeout_seconds": timeout_seconds,
        "on_behalf_of": on_behalf_of or None,
        "parked": PARKED,
    }
).encode("utf-8")

# 5. Join the line and block until granted.
shown_key, shown_at = "", 0
told_news = True  # by the last answer
said_shorter = False
has_place = False  # it gave us one at least once
in_line = False  # nothing has gone wrong since then
confirmations = 0  # how often a grant that was read was asked for again
wake_key = None
has_asked = False

while True:
    # What was granted is confirmed first, whatever the time.
    if has_asked and confirmations == 0 and elapsed() >= end():
        give_up()
    has_asked = True

    is_poll = in_line and confirmations == 0
    if confirmations > 0:
        answer = ask("GET", "?block_seconds=0")
    elif in_line:
        answer = poll()
    else:
        answer = ask("PUT", body=body)
    if is_refused(answer):
        fail(f"octowait does not let this run wait: {answer.message}")
    listen(answer)
    note(answer)

    if answer.state == "granted" and knows_claims and confirmations == 0:
        confirmations = 1
    elif answer.state == "granted":
        say_highlight(answer.message)
        finish("granted", answer.number)
    elif answer.state == "waiting":
        if has_place and answer.is_new:
            say_wait("The place in the line was lost: joined again at the end.")
        if is_poll:
            failures = refusals = 0
            poll_was_whole()
        has_place, in_line, confirmations = True, True, 0
        wake_key = word(answer, "wake_key")
        last_message = answer.message
        told_news = show(key_of(answer), answer.message)
    elif answer.state in ("silence", "heard") and confirmations == 1:
        confirmations = 2
    elif answer.state in INTERRUPTED:
        # On Redis a PUT: the wake for which the next poll would block may have been taken.
        in_line, confirmations = is_poll and is_asked_again() and redis_client is None, 0
        if is_poll and not was_refused and answer.state in ("silence", "heard"):
            poll_broke_off(answer.message)
        else:
            last_message = f"octowait did not answer ({answer.message})."
            if not (is_poll and is_first_refusal()):
                show("interrupted", f"{last_message} Asking again until the time-out.")
        pause(answer.retry_after, end())
        told_news = True  # no other pause
        count_failure()
    elif answer.state in ("expired", "unknown"):
        say_wait(f"{answer.message} Asking for a place again.")
        in_line, confirmations = False, 0
        pause(0, timeout_seconds)
        failures += 1
    elif answer.state == "timed_out":
        give_up()
    else:
        fail(f"octowait does not let this run wait: {answer.message}")
