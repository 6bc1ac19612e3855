Answer = collections.namedtuple("Answer", "state, number, message, is_new, wake_key, retry_after")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None  # the token is for this address only


opener = urllib.request.build_opener(NoRedirect)


def ask(method, query="", body=None, block_seconds=0, time_out=20):
    # One call. Besides octowait's states: unknown, interrupted, rejected (asking again is no use).
    request = urllib.request.Request(url + "/api/waits/" + task + query, data=body, method=method)
    request.add_header("Authorization", "Bearer " + token)
    request.add_header("Accept", "application/json")
    request.add_header("Content-Type", "application/json; charset=utf-8")
    retry_after = 0
    try:
        try:
            with opener.open(request, timeout=block_seconds + time_out) as response:
                status, text = response.status, response.read().decode("utf-8")
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode("utf-8", "replace")
            after = error.headers.get("Retry-After") or ""
            retry_after = int(after) if re.match(r"[0-9]{1,4}\Z", after) else 0
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or error
        return Answer("interrupted", 0, str(why) or type(why).__name__, False, None, 0)
    try:
        found = json.loads(text)
        found = found if isinstance(found, dict) else {}
    except ValueError:
        found = {}
    state = str(found.get("state") or found.get("outcome") or "")
    if status in (200, 201) and state:
        number = found.get("fencing_token") or found.get("place") or 0
        message = str(found.get("message") or "")
        return Answer(state, number, message, status == 201, found.get("wake_key"), 0)
    detail = str(found.get("detail") or "not an answer of octowait")
    if status in (200, 201, 408, 429) or status >= 500:
        state = "interrupted"
    elif status == 404 and method == "GET":
        state = "unknown"
    else:
        state = "rejected"
    return Answer(state, 0, f"HTTP {status}: {detail}", False, None, retry_after)
