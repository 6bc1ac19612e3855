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
