// Drives the simulator with the official Node.js client, as a user of the real service would.
// Prints one JSON document on success; any difference from what the client should see ends the program.
import assert from 'node:assert/strict'
import { Client } from '@hubspot/api-client'

const { SIM_BASE_URL: basePath, SIM_TOKEN: accessToken } = process.env
const hubspot = new Client({ accessToken, basePath, limiterOptions: { minTime: 0, maxConcurrent: 6 } })
const contacts = hubspot.crm.contacts

const input = (trace, email, properties) => ({ id: email, idProperty: 'email', objectWriteTraceId: trace, properties })

const created = await contacts.batchApi.upsert({
  inputs: [
    input('0', 'Ada@Example.com', { firstname: 'Ada', lastname: 'Lovelace' }),
    input('1', 'bob@example.com', { firstname: 'Bob' }),
  ],
})
assert.equal(created.status, 'COMPLETE')
assert.equal(created.results.length, 2)
assert.ok(created.results.every((result) => result._new))
assert.ok(created.results.every((result) => result.createdAt instanceof Date))

// The client returns a 207 as a success of another type: the failed record shows in `numErrors` only.
const partial = await contacts.batchApi.upsert({
  inputs: [input('good', 'ada@example.com', { firstname: 'Augusta' }), input('bad', 'cy@example.com', { no_such: 'x' })],
})
assert.equal(partial.numErrors, 1)
assert.deepEqual(partial.errors[0].context.objectWriteTraceId, ['bad'])
assert.equal(partial.errors[0].category, 'VALIDATION_ERROR')
assert.deepEqual(partial.results.map((result) => result._new), [false])

const read = await contacts.batchApi.read({
  idProperty: 'email',
  properties: ['email', 'firstname', 'lastname'],
  propertiesWithHistory: [],
  inputs: [{ id: 'ada@example.com' }, { id: 'bob@example.com' }],
})
const names = Object.fromEntries(read.results.map((result) => [result.properties.email, result.properties.firstname]))
assert.deepEqual(names, { 'ada@example.com': 'Augusta', 'bob@example.com': 'Bob' })

const found = await contacts.searchApi.doSearch({
  filterGroups: [{ filters: [{ propertyName: 'lastname', operator: 'EQ', value: 'lovelace' }] }],
  properties: ['email'],
  limit: 10,
})
assert.equal(found.total, 1)
assert.equal(found.results[0].properties.email, 'ada@example.com')

await hubspot.crm.properties.coreApi.create('contacts', {
  name: 'plan',
  label: 'Plan',
  type: 'enumeration',
  fieldType: 'select',
  groupName: 'contactinformation',
  options: [{ label: 'Paid', value: 'paid', displayOrder: 0, hidden: false }],
})
const definitions = await hubspot.crm.properties.coreApi.getAll('contacts')
const plan = definitions.results.find((property) => property.name === 'plan')
assert.equal(plan.options[0].value, 'paid')
assert.equal(plan.modificationMetadata.readOnlyValue, false)

const one = await contacts.basicApi.getById('bob@example.com', ['email'], undefined, undefined, false, 'email')
const changed = await contacts.basicApi.update(one.id, { properties: { plan: 'paid' } })
assert.equal(changed.properties.plan, 'paid')

const company = await hubspot.crm.companies.basicApi.create({ properties: { name: 'Analytical Engines' } })
await hubspot.crm.companies.basicApi.archive(company.id)
await assert.rejects(hubspot.crm.companies.basicApi.getById(company.id), (error) => error.code === 404)
await assert.rejects(
  contacts.basicApi.create({ properties: { email: 'bob@example.com' } }),
  (error) => error.code === 409 && error.body.message.includes(one.id),
)

const page = await contacts.basicApi.getPage(1)
assert.equal(page.results.length, 1)
assert.ok(page.paging.next.after)
console.log(JSON.stringify({ contacts: (await contacts.getAll()).length }))
