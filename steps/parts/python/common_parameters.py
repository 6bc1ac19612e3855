task = variable("Octopus.Task.Id")
url = parameter("Octowait.Url", "").rstrip("/")
token = parameter("Octowait.Token", "")
OWN_MACHINES = r"(?:[,\s]*|#\{Octopus\.Deployment\.Machines\})\Z"
machine_list = parameter("Octowait.Machines", variable("Octopus.Deployment.Machines"), OWN_MACHINES)

if not re.match(ID_PATTERN, task):
    problem("Octopus.Task.Id", task, "an id such as ServerTasks-4711")
if not re.match(r"https?://[^\s\"\\?{}#]+\Z", url):
    problem("Octowait.Url", url, "an address such as https://octowait.example.com")
if not re.match(r"[!-~]+\Z", token):
    problem("Octowait.Token", "***" if token else "", "a token of the role step")
