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
