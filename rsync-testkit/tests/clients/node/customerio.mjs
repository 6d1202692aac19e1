// Drives the simulator with the official Node.js client, as a user of the real service would.
// Prints one JSON document on success; any difference from what the client should see ends the program.
import assert from 'node:assert/strict'
import { APIClient, IdentifierType, TrackClient } from 'customerio-node'

const { SIM_BASE_URL: base, SIM_SITE_ID: site, SIM_API_KEY: key, SIM_APP_API_KEY: appKey } = process.env
const retry = { maxRetries: 0 }
const track = new TrackClient(site, key, { url: `${base}/api/v1`, retry })
const app = new APIClient(appKey, { url: `${base}/v1`, retry })

const id = 'a/b c+d'
assert.deepEqual(await track.identify(id, { email: 'ada@example.com', plan: 'free', age: 30, old: 'x' }), {})
await track.identify(id, { plan: 'pro', age: 31, vip: true, old: null })
await track.track(id, { name: 'bought', data: { price: 5 } })
await track.trackPageView(id, '/home')
await track.trackAnonymous('anon', { name: 'seen' })
await track.addDevice(id, 'token/1', 'ios', { last_used: 1700000000 })
await track.addDevice(id, 'token/2', 'android')
await track.deleteDevice(id, 'token/2')

await track.identify('gone', { email: 'gone@example.com' })
await track.destroy('gone')
await track.identify('blocked')
await track.suppress('blocked')
await track.identify('blocked', { plan: 'x' })
await track.suppress('freed')
await track.unsuppress('freed')

await track.identify('kept')
await track.identify('merged@example.com', { plan: 'x' })
await track.mergeCustomers(IdentifierType.Id, 'kept', IdentifierType.Email, 'merged@example.com')

const person = (action, identifiers, attributes) => ({ type: 'person', action, identifiers, attributes })
assert.deepEqual(
  await track.batch([
    person('identify', { id: 'batch-1' }, { city: 'Zürich' }),
    person('identify', { id: 'batch-2' }, {}),
  ]),
  {},
)
// The client returns a 207 as a success: the refused operation shows in the body only.
const partial = await track.batch([
  person('identify', { id: 'batch-1' }, { plan: 'pro' }),
  person('identify', { id: 'batch-2' }, { plan: 'x'.repeat(1001) }),
])
assert.equal(partial.errors[0].field, 'attributes.plan')
assert.equal(partial.errors[0].message, 'property value cannot be longer than 1000 bytes')

const found = await app.getCustomersByEmail('ADA@example.com')
assert.deepEqual(found.results.map((result) => [result.id, result.email]), [[id, 'ada@example.com']])
assert.deepEqual(await app.getCustomersByEmail('gone@example.com'), { results: [] })

await assert.rejects(track.identify('x', { plan: 'x'.repeat(1001) }), (error) => {
  assert.equal(error.statusCode, 400)
  assert.ok(error.body.includes("value for attribute 'plan' cannot be longer than 1000 bytes"), error.body)
  return true
})
const stranger = new TrackClient(site, 'wrong', { url: `${base}/api/v1`, retry })
await assert.rejects(stranger.identify('x'), (error) => error.statusCode === 401)
console.log(JSON.stringify({ rejected: partial.errors.map((error) => error.batch_index) }))
