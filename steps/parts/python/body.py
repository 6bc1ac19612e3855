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
