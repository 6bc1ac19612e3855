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
