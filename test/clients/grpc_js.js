// Signs up, logs in and logs out over native gRPC with @grpc/grpc-js, from the protos in the folder of its argument.
import assert from "node:assert/strict";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const protos = process.argv[2];
const files = ["gatehouse/v1/user.proto", "gatehouse/v1/session.proto"];
const { gatehouse } = grpc.loadPackageDefinition(protoLoader.loadSync(files, { includeDirs: [protos] }));
const credentials = grpc.credentials.createInsecure();
const users = new gatehouse.v1.UserService(process.env.GATEHOUSE_GRPC, credentials);
const sessions = new gatehouse.v1.SessionService(process.env.GATEHOUSE_GRPC, credentials);

const details = new protobuf.Root();
details.resolvePath = (_, path) => (path.startsWith("google/rpc/") ? `${protos}/${path}` : path);
details.loadSync(["google/rpc/status.proto", "google/rpc/error_details.proto"]);

function call(client, method, request, token) {
  const metadata = new grpc.Metadata();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  return new Promise((resolve, reject) =>
    client[method](request, metadata, { deadline: Date.now() + 30_000 }, (error, answer) => (error ? reject(error) : resolve(answer))),
  );
}

async function refused(promise, code, reason, ...fields) {
  const error = await promise.then(
    () => assert.fail(`the call succeeded, want ${reason}`),
    (error) => error,
  );
  assert.equal(error.code, code, error.message);
  const [raw] = error.metadata.get("grpc-status-details-bin");
  const found = { reasons: [], fields: [] };
  for (const { type_url, value } of details.lookupType("google.rpc.Status").decode(raw).details) {
    const detail = details.lookupType(type_url.replace("type.googleapis.com/", "")).decode(value);
    if (detail.reason) found.reasons.push(detail.reason);
    for (const violation of detail.fieldViolations ?? []) found.fields.push(violation.field);
  }
  assert.deepEqual(found, { reasons: [reason], fields });
}

const account = { email: "grpc-js@example.com", password: "correct horse battery staple" };
const signUp = { ...account, fullName: "Ada Lovelace" };
await refused(
  call(users, "CreateUser", { ...signUp, password: "short" }),
  grpc.status.INVALID_ARGUMENT,
  "INVALID_FIELDS",
  "password",
);
await call(users, "CreateUser", signUp);
await refused(call(users, "CreateUser", signUp), grpc.status.ALREADY_EXISTS, "EMAIL_TAKEN");

const opened = await call(sessions, "CreateSession", account);
const { accessToken, sessionId } = await call(sessions, "RefreshSession", { refreshToken: opened.refreshToken });
assert.equal(sessionId, opened.sessionId);

const { user } = await call(users, "ReadUser", { id: "me" }, accessToken);
assert.equal(user.fullName, "Ada Lovelace");
const change = { user: { id: "me", metadata: { fields: { theme: { stringValue: "dark" } } } }, version: user.version };
const changed = await call(users, "UpdateUser", change, accessToken);
assert.equal(changed.user.metadata.fields.theme.stringValue, "dark");
await refused(call(users, "UpdateUser", change, accessToken), grpc.status.ABORTED, "VERSION_MISMATCH");
const listed = await call(sessions, "ListSessions", {}, accessToken);
assert.deepEqual(listed.sessions.map(({ id }) => id), [sessionId]);

await call(sessions, "DeleteSession", { id: "current" }, accessToken);
await refused(call(users, "ReadUser", { id: "me" }, accessToken), grpc.status.UNAUTHENTICATED, "SESSION_ENDED");
users.close();
sessions.close();
