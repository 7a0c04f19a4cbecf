// Finds the introspection endpoint by RFC 8414, and introspects tokens with oauth4webapi and with plain requests.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'

const issuer = process.env.GATEHOUSE_URL
const [id, secret] = process.argv.slice(2)
const insecure = { [oauth.allowInsecureRequests]: true } // The issuer of this test is http.

async function call(method, path, body, token) {
  const response = await fetch(issuer + path, {
    method,
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
    body: body && JSON.stringify(body),
  })
  assert.equal(response.status, 200, await response.clone().text())
  return response.json()
}

const account = { email: 'introspection@example.com', password: 'correct horse battery staple' }
await call('POST', '/v1/users', { fullName: 'Ada Lovelace', ...account })
const session = await call('POST', '/v1/sessions', account)
const bystander = await call('POST', '/v1/sessions', account)

const url = new URL(issuer)
const server = await oauth.processDiscoveryResponse(
  url, await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure }),
)
assert.equal(server.introspection_endpoint, issuer + '/oauth2/introspect')
assert.equal((await fetch(server.jwks_uri)).status, 200)

async function introspect(token, clientSecret = secret) {
  const client = { client_id: id }
  const response = await oauth.introspectionRequest(
    server, client, oauth.ClientSecretBasic(clientSecret), token, insecure,
  )
  return oauth.processIntrospectionResponse(server, client, response)
}

const found = await introspect(session.accessToken)
const claims = JSON.parse(Buffer.from(session.accessToken.split('.')[1], 'base64url'))
for (const name of ['sub', 'sid', 'client_id', 'iss', 'iat', 'exp', 'jti']) {
  assert.deepEqual(found[name], claims[name], name)
}
assert.deepEqual([found.aud].flat(), [claims.aud].flat())
assert.deepEqual(found.roles, claims.roles)
assert.equal(found.active, true)
assert.equal(found.token_type, 'Bearer')

assert.deepEqual(await introspect(session.refreshToken), { active: false })
assert.deepEqual(await introspect('garbage'), { active: false })
await assert.rejects(introspect(session.accessToken, secret + '2'))

await call('DELETE', '/v1/sessions/current', undefined, session.accessToken)
assert.deepEqual(await introspect(session.accessToken), { active: false }, 'the session has ended')
assert.equal((await introspect(bystander.accessToken)).active, true)
