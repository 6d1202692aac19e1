// Drives segments and the App API with the official Node.js client, as a user of the real service would.
// Prints one JSON document on success; any difference from what the client should see ends the program.
import assert from 'node:assert/strict'
import { APIClient, IdentifierType, TrackClient } from 'customerio-node'

const { SIM_BASE_URL: base, SIM_SITE_ID: site, SIM_API_KEY: key, SIM_APP_API_KEY: appKey } = process.env
const retry = { maxRetries: 0 }
const track = new TrackClient(site, key, { url: `${base}/api/v1`, retry })
const app = new APIClient(appKey, { url: `${base}/v1`, retry })

assert.equal((await track.getAccountRegion()).region, 'us')
for (const id of ['a', 'b', 'c']) await track.identify(id, { email: `${id}@example.com`, plan: id === 'a' ? 'pro' : 'free' })

const { segment } = await app.createSegment({ name: 'by hand', description: '' })
assert.equal(segment.type, 'manual')
assert.deepEqual(await track.addCustomersToSegment(segment.id, ['a', 'b', 'nobody']), {})
await track.addCustomersToSegment(segment.id, ['c@example.com'], IdentifierType.Email)
await track.removeCustomersFromSegment(segment.id, ['b'])
const { segments } = await app.listSegments()
assert.deepEqual(segments.map((one) => one.name), ['by hand'])
assert.equal((await app.getSegmentCustomerCount(segment.id)).count, 2)
assert.deepEqual((await app.getSegmentMembership(segment.id)).ids, ['a', 'c'])
await assert.rejects(track.addCustomersToSegment(99, ['a']), (error) => error.statusCode === 404)

const found = await app.searchCustomers({ attribute: { field: 'plan', operator: 'eq', value: 'pro' } })
assert.deepEqual(found.ids, ['a'])
assert.equal((await app.getAttributes('a')).customer.attributes.plan, 'pro')
assert.equal((await app.getCustomerSegments('a')).segments.length, 1)
const activities = await app.listActivities({ type: 'profile_create', limit: 100 })
assert.equal(activities.activities.length, 3)
assert.deepEqual(await app.listExports(), { exports: null })
const { export: asked } = await app.createCustomersExport({ attribute: { field: 'email', operator: 'exists' } })
assert.ok(['pending', 'done'].includes(asked.status))
console.log(JSON.stringify({ segment: segment.id }))
