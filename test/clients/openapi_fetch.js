// Signs up, logs in, reads the profile and logs out with openapi-fetch.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";

const account = { email: "openapi-fetch@example.com", password: "correct horse battery staple" };
const client = createClient({ baseUrl: process.env.GATEHOUSE_URL });

async function succeed(call) {
  const { data, error, response } = await call;
  assert.equal(error, undefined, `${response.status} ${JSON.stringify(error)}`);
  return data;
}

await succeed(client.POST("/v1/users", { body: { ...account, fullName: "Ada Lovelace" } }));
const session = await succeed(client.POST("/v1/sessions", { body: account }));
const headers = { Authorization: `Bearer ${session.accessToken}` };
const profile = await succeed(client.GET("/v1/users/{id}", { params: { path: { id: "me" } }, headers }));
assert.equal(profile.user.fullName, "Ada Lovelace");
await succeed(client.DELETE("/v1/sessions/{sessionId}", { params: { path: { sessionId: session.sessionId } }, headers }));
const refused = await client.GET("/v1/users/{id}", { params: { path: { id: "me" } }, headers });
assert.equal(refused.error.details[0].reason, "SESSION_ENDED");
