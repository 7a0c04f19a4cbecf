// Runs the scenario with the client that @hey-api/openapi-ts generates.
import { client } from "./hey_api/client.gen.js";
import * as sdk from "./hey_api/sdk.gen.js";
import { CallError, run, type Failure } from "./scenario.js";

client.setConfig({ baseUrl: process.env.GATEHOUSE_URL });
const me = { id: "me" };

async function answer<T>(call: Promise<{ data: T | undefined; error?: Failure | undefined }>): Promise<T> {
  const { data, error } = await call;
  if (error !== undefined) throw new CallError(error);
  if (data === undefined) throw new Error("the answer has neither data nor an error");
  return data;
}

await run(
  {
    signUp: (body) => answer(sdk.userServiceCreateUser({ body })),
    logIn: (body) => answer(sdk.sessionServiceCreateSession({ body })),
    refresh: (refreshToken) => answer(sdk.sessionServiceRefreshSession({ body: { refreshToken } })),
    readProfile: (auth) => answer(sdk.userServiceReadUser({ auth, path: me })),
    rename: (auth, fullName, etag) =>
      answer(sdk.userServiceUpdateUser({ auth, path: me, headers: { "If-Match": etag }, body: { fullName } })),
    listSessions: (auth) => answer(sdk.sessionServiceListSessions({ auth })),
    logOut: (auth) => answer(sdk.sessionServiceDeleteSession({ auth, path: { id: "current" } })),
  },
  "hey-api@example.com",
);
