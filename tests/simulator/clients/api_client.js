// What a person writes with @octopusdeploy/api-client. OCTOPUS_URL and OCTOPUS_API_KEY say where; prints one JSON object.
const {
  Client, DeploymentRepository, EnvironmentRepository, ProjectRepository, ReleaseRepository, RunbookRepository,
  RunbookRunRepository, ServerTaskWaiter, SpaceRepository, SpaceServerTaskRepository, userGetCurrent,
} = require("@octopusdeploy/api-client");

const SPACE = "Default";

async function main() {
  const client = await Client.create({
    userAgentApp: "octowait-tests",
    instanceURL: process.env.OCTOPUS_URL,
    apiKey: process.env.OCTOPUS_API_KEY,
  });
  const server = await client.getServerInformation();
  const me = await userGetCurrent(client);
  const space = (await new SpaceRepository(client).list({ partialName: SPACE })).Items[0];
  const projects = (await new ProjectRepository(client, SPACE).list({ partialName: "Web" })).Items;
  const environments = (await new EnvironmentRepository(client, SPACE).list({})).Items;

  const releases = new ReleaseRepository(client, SPACE);
  const release = await releases.create({ spaceName: SPACE, ProjectName: "Web", ReleaseVersion: "1.4.0" });
  const releasesOfProject = (await releases.listForProject(projects[0].Id)).Items;

  const deployments = new DeploymentRepository(client, SPACE);
  const command = {
    spaceName: SPACE, ProjectName: "Web", ReleaseVersion: release.ReleaseVersion, EnvironmentNames: ["Production"],
  };
  const started = (await deployments.create(command)).DeploymentServerTasks[0];
  const waiter = new ServerTaskWaiter(client, SPACE);
  const seen = [];
  const ended = await waiter.waitForServerTaskToComplete(started.ServerTaskId, 50, 20000, (task) => seen.push(task.State));
  const deployment = await deployments.get(started.DeploymentId);
  const page = await deployments.list({ take: 1, projects: [projects[0].Id] });

  const tasks = new SpaceServerTaskRepository(client, SPACE);
  const details = await tasks.getDetails(started.ServerTaskId);
  const raw = await tasks.getRaw(started.ServerTaskId);
  const byIds = await tasks.getByIds([started.ServerTaskId]);

  const runbooks = (await new RunbookRepository(client, SPACE, projects[0]).list({})).Items;
  const run = (await new RunbookRunRepository(client, SPACE).create({
    spaceName: SPACE, ProjectName: "Web", RunbookName: runbooks[0].Name, EnvironmentNames: ["Production"],
  })).RunbookRunServerTasks[0];
  const timedOut = await waiter
    .waitForServerTaskToComplete(run.ServerTaskId, 50, 500, () => {}, true)
    .catch((error) => error.message);
  const canceled = await waiter.waitForServerTaskToComplete(run.ServerTaskId, 50, 20000);
  const unknown = await tasks.getById("ServerTasks-999").catch((error) => `${error.StatusCode}: ${error.message}`);

  console.log(JSON.stringify({
    server, me, space, projects, environments, release, releasesOfProject, started, seen, ended, deployment, page,
    details, raw, byIds, runbooks, run, timedOut, canceled, unknown,
  }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
