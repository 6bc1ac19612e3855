// An OpenID Connect provider with two kinds of people, for the test of signing in: whoever says a name is that person.
// Its own pages ask for the name (any password) and for consent.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [, , modules, redirect] = process.argv;
const { default: Provider } = await import(createRequire(`${modules}/x.js`).resolve("oidc-provider"));
const GROUPS = { dana: ["operators"], vera: ["readers"], mallory: ["others"] };

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: "octowait", client_secret: "secret-of-the-client-of-octowait", redirect_uris: [redirect] }],
    claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    cookies: { keys: ["a key for tests"] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: `${id}@example.com`, groups: GROUPS[id] ?? [] }),
    }),
  });
  const answer = provider.callback();
  server.on("request", (request, response) => answer(request, response));
  console.log(issuer);
});
