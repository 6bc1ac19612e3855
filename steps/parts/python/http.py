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
