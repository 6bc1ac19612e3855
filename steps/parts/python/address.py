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
