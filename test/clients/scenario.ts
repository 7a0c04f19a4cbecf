// The scenario that every client goes through, over whatever it calls with.
import assert from "node:assert/strict";

export const password = "correct horse battery staple";

/** What the scenario needs of a generated client. Each method returns the body of the answer, or throws the error. */
export interface Client {
  signUp(body: { email: string; fullName: string; password: string }): Promise<{ user?: { id: string } }>;
  logIn(body: { email: string; password: string }): Promise<Tokens>;
  refresh(refreshToken: string): Promise<Tokens>;
  readProfile(token: string): Promise<{ user?: { fullName: string; version: string } }>;
  rename(token: string, fullName: string, etag: string): Promise<{ user?: { fullName: string } }>;
  listSessions(token: string): Promise<{ sessions: { id: string; current: boolean }[] }>;
  logOut(token: string): Promise<unknown>;
}

export interface Tokens {
  accessToken: string;
  refreshToken: string;
  sessionId: string;
}

export interface Failure {
  code: number;
  details: (
    | { "@type": "type.googleapis.com/google.rpc.ErrorInfo"; reason: string }
    | { "@type": "type.googleapis.com/google.rpc.BadRequest"; fieldViolations: { field: string; reason?: string }[] }
    | { "@type": "type.googleapis.com/google.rpc.RetryInfo"; retryDelay: string }
  )[];
}

/** Thrown by clients for an answer that is no success. */
export class CallError extends Error {
  constructor(readonly failure: Failure) {
    super(JSON.stringify(failure));
  }
}

export async function run(client: Client, email: string) {
  await refused(client.signUp({ email, fullName: "Ada Lovelace", password: "short" }), "INVALID_FIELDS", "password");
  const { user } = await client.signUp({ email, fullName: "Ada Lovelace", password });
  assert.ok(user?.id);
  await refused(client.signUp({ email, fullName: "Ada Lovelace", password }), "EMAIL_TAKEN");
  await refused(client.logIn({ email, password: "a wrong password" }), "INVALID_CREDENTIALS");

  const first = await client.logIn({ email, password });
  const { accessToken, sessionId } = await client.refresh(first.refreshToken);
  assert.equal(sessionId, first.sessionId);

  const profile = await client.readProfile(accessToken);
  assert.equal(profile.user?.fullName, "Ada Lovelace");
  const etag = `"${profile.user?.version}"`;
  assert.equal((await client.rename(accessToken, "Ada King", etag)).user?.fullName, "Ada King");
  await refused(client.rename(accessToken, "Ada Byron", etag), "VERSION_MISMATCH");
  assert.deepEqual(
    (await client.listSessions(accessToken)).sessions.map(({ id, current }) => ({ id, current })),
    [{ id: sessionId, current: true }],
  );

  await client.logOut(accessToken);
  await refused(client.readProfile(accessToken), "SESSION_ENDED");
}

async function refused(call: Promise<unknown>, reason: string, ...fields: string[]) {
  const failure = await call.then(
    () => assert.fail(`the call succeeded, want ${reason}`),
    (error: unknown) => {
      if (error instanceof CallError) return error.failure;
      throw error;
    },
  );
  const reasons: string[] = [];
  const violated: string[] = [];
  for (const detail of failure.details) {
    switch (detail["@type"]) {
      case "type.googleapis.com/google.rpc.ErrorInfo":
        reasons.push(detail.reason);
        break;
      case "type.googleapis.com/google.rpc.BadRequest":
        violated.push(...detail.fieldViolations.map(({ field }) => field));
        break;
    }
  }
  assert.deepEqual({ reasons, violated }, { reasons: [reason], violated: fields });
}
