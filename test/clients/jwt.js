// Verifies an access token of Gatehouse with libraries that products use, each configured by the issuer alone.
// Arguments: the algorithm, and the libraries that cannot verify it.
import assert from 'node:assert/strict'
import express from 'express'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'
import jwksRsa from 'jwks-rsa'
import * as oauth from 'oauth4webapi'
import { auth } from 'express-oauth2-jwt-bearer'

const issuer = process.env.GATEHOUSE_URL
const audience = 'gatehouse'
const [algorithm, ...unable] = process.argv.slice(2)

async function post(path, body) {
  const response = await fetch(issuer + path, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  })
  assert.equal(response.status, 200, await response.clone().text())
  return response.json()
}

const account = { email: `jwt-${algorithm}@example.com`, password: 'correct horse battery staple' }
await post('/v1/users', { fullName: 'Ada Lovelace', ...account })
const { accessToken } = await post('/v1/sessions', account)

const insecure = { [oauth.allowInsecureRequests]: true } // The issuer of this test is http.

async function metadata(algorithmOfDiscovery) {
  const url = new URL(issuer)
  const response = await oauth.discoveryRequest(url, { algorithm: algorithmOfDiscovery, ...insecure })
  return oauth.processDiscoveryResponse(url, response)
}

// Each returns the claims of the token, and rejects one that it refuses.
const libraries = {
  async 'jsonwebtoken'(token) {
    const client = jwksRsa({ jwksUri: issuer + '/.well-known/jwks.json' })
    const { header } = jsonwebtoken.decode(token, { complete: true })
    const key = await client.getSigningKey(header.kid)
    return jsonwebtoken.verify(token, key.getPublicKey(), { algorithms: [algorithm], issuer, audience })
  },
  async 'jose'(token) {
    const keys = jose.createRemoteJWKSet(new URL(issuer + '/.well-known/jwks.json'))
    const { payload } = await jose.jwtVerify(token, keys, {
      issuer, audience, typ: 'at+jwt', requiredClaims: ['exp', 'iat', 'sub', 'jti', 'client_id'],
    })
    return payload
  },
  async 'express-oauth2-jwt-bearer'(token) {
    const app = express()
    app.use(auth({ issuerBaseURL: issuer, audience, strict: true, tokenSigningAlg: algorithm }))
    app.get('/', (request, response) => response.json(request.auth.payload))
    app.use((error, request, response, next) => response.status(error.status ?? 500).send(error.message))
    const server = app.listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    try {
      const response = await fetch(`http://127.0.0.1:${server.address().port}/`, {
        headers: { Authorization: `Bearer ${token}` },
      })
      if (response.status !== 200) throw new Error(await response.text())
      return await response.json()
    } finally {
      server.close()
    }
  },
  async 'oauth4webapi'(token) {
    const request = new Request('https://api.example.com/', { headers: { Authorization: `Bearer ${token}` } })
    return oauth.validateJwtAccessToken(await metadata('oidc'), request, audience, insecure)
  },
}

const [head, body, signature] = accessToken.split('.')
const forged = [head, body, signature.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))].join('.')
for (const [name, verify] of Object.entries(libraries)) {
  if (unable.includes(name)) {
    await assert.rejects(verify(accessToken), undefined, `${name} verifies ${algorithm} by now: say so in the guide`)
    continue
  }
  const claims = await verify(accessToken)
  assert.equal(claims.iss, issuer, name)
  assert.equal(claims.client_id, 'gatehouse', name)
  await assert.rejects(verify(forged), undefined, `${name} takes a forged token`)
}
