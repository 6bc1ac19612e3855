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
