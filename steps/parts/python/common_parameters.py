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
