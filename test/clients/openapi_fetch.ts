// Runs the scenario with openapi-fetch, on the types that openapi-typescript makes.
import createClient from "openapi-fetch";
import type { components, paths } from "./openapi_fetch/schema.js";
import { CallError, run } from "./scenario.js";

const client = createClient<paths>({ baseUrl: process.env.GATEHOUSE_URL });
const me = { id: "me" };
const as = (token: string) => ({ Authorization: `Bearer ${token}` });

async function answer<T>(call: Promise<{ data?: T; error?: components["schemas"]["google.rpc.Status"] }>): Promise<T> {
  const { data, error } = await call;
  if (error !== undefined) throw new CallError(error);
  if (data === undefined) throw new Error("the answer has neither data nor an error");
  return data;
}

await run(
  {
    signUp: (body) => answer(client.POST("/v1/users", { body })),
    logIn: (body) => answer(client.POST("/v1/sessions", { body })),
    refresh: (refreshToken) => answer(client.POST("/v1/sessions:refresh", { body: { refreshToken } })),
    readProfile: (token) => answer(client.GET("/v1/users/{id}", { params: { path: me }, headers: as(token) })),
    rename: (token, fullName, etag) =>
      answer(
        client.PATCH("/v1/users/{id}", {
          params: { path: me, header: { "If-Match": etag } },
          headers: as(token),
          body: { fullName },
        }),
      ),
    listSessions: (token) => answer(client.GET("/v1/sessions", { headers: as(token) })),
    logOut: (token) =>
      answer(client.DELETE("/v1/sessions/{id}", { params: { path: { id: "current" } }, headers: as(token) })),
  },
  "openapi-fetch@example.com",
);
