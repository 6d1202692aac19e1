// Drives associations, lists, consent, schemas, groups, merge and erasure with the official Node.js client.
// Prints one JSON document on success; any difference from what the client should see ends the program.
import assert from 'node:assert/strict'
import { Client } from '@hubspot/api-client'

const { SIM_BASE_URL: basePath, SIM_TOKEN: accessToken } = process.env
const hubspot = new Client({ accessToken, basePath, limiterOptions: { minTime: 0, maxConcurrent: 6 } })
const { contacts, companies, lists, schemas, properties } = hubspot.crm
const associations = hubspot.crm.associations.v4

const company = await companies.basicApi.create({ properties: { name: 'Analytical Engines' }, associations: [] })
const primary = { associationCategory: 'HUBSPOT_DEFINED', associationTypeId: 1 }
const ada = await contacts.basicApi.create({
  properties: { email: 'ada@example.com' },
  associations: [{ to: { id: company.id }, types: [primary] }],
})
const bob = await contacts.basicApi.create({ properties: { email: 'bob@example.com' }, associations: [] })
const eve = await contacts.basicApi.create({ properties: { email: 'eve@example.com' }, associations: [] })

const made = await associations.batchApi.createDefault('contacts', 'companies', {
  inputs: [{ _from: { id: bob.id }, to: { id: company.id } }],
})
assert.equal(made.status, 'COMPLETE')
// The client returns a 207 as a success of another type.
const partial = await associations.batchApi.create('contacts', 'companies', {
  inputs: [
    { _from: { id: eve.id }, to: { id: company.id }, types: [{ ...primary, associationTypeId: 279 }] },
    { _from: { id: '12' }, to: { id: company.id }, types: [{ ...primary, associationTypeId: 279 }] },
  ],
})
assert.equal(partial.numErrors, 1)
assert.equal(partial.results.length, 1)
const single = await associations.basicApi.create('contacts', bob.id, 'companies', company.id, [primary])
assert.deepEqual(single.labels, ['Primary'])
const read = await associations.batchApi.getPage('contacts', 'companies', { inputs: [{ id: ada.id }] })
assert.deepEqual(read.results[0].to[0].associationTypes.map((type) => type.typeId), [279, 1])
await associations.batchApi.archive('contacts', 'companies', { inputs: [{ _from: { id: eve.id }, to: [{ id: company.id }] }] })
const members = await associations.basicApi.getPage('companies', company.id, 'contacts')
assert.equal(members.results.length, 2)

const { list } = await lists.listsApi.create({ name: 'Churn risk', objectTypeId: '0-1', processingType: 'MANUAL' })
const added = await lists.membershipsApi.add(list.listId, [ada.id, bob.id, '12'])
assert.deepEqual([added.recordsIdsAdded, added.recordIdsMissing], [[ada.id, bob.id], ['12']])
await lists.membershipsApi.addAndRemove(list.listId, { recordIdsToAdd: [eve.id], recordIdsToRemove: [bob.id] })
const page = await lists.membershipsApi.getPage(list.listId)
assert.deepEqual(page.results.map((member) => member.recordId), [ada.id, eve.id])
const found = await lists.listsApi.doSearch({ query: 'churn', listIds: undefined, offset: 0, count: 10, additionalProperties: [] })
assert.equal(found.total, 1)
await assert.rejects(
  lists.listsApi.create({ name: 'Churn risk', objectTypeId: '0-1', processingType: 'MANUAL' }),
  (error) => error.code === 400 && error.body.subCategory === 'ILS.DUPLICATE_LIST_NAMES',
)

const consent = hubspot.communicationPreferences.statusApi
const basis = { legalBasis: 'CONSENT_WITH_NOTICE', legalBasisExplanation: 'asked' }
const subscribed = await consent.subscribe({ emailAddress: 'ada@example.com', subscriptionId: '101', ...basis })
assert.equal(subscribed.status, 'SUBSCRIBED')
const status = await consent.getEmailStatus('ada@example.com')
assert.deepEqual(status.subscriptionStatuses.map((one) => one.status), ['SUBSCRIBED', 'NOT_SPECIFIED'])

await properties.groupsApi.create('contacts', { name: 'scores', label: 'Scores' })
assert.equal((await properties.groupsApi.getAll('contacts')).results.length, 3)
const schema = await schemas.coreApi.create({
  name: 'boat',
  labels: { singular: 'Boat', plural: 'Boats' },
  primaryDisplayProperty: 'title',
  requiredProperties: [],
  searchableProperties: [],
  secondaryDisplayProperties: [],
  properties: [{ name: 'title', label: 'Title', type: 'string', fieldType: 'text' }],
  associatedObjects: ['CONTACT'],
})
const boat = await hubspot.crm.objects.basicApi.create(schema.objectTypeId, { properties: { title: 'x' }, associations: [] })
assert.equal(boat.properties.title, 'x')

const merged = await contacts.basicApi.merge({ primaryObjectId: ada.id, objectIdToMerge: eve.id })
assert.notEqual(merged.id, ada.id)
await contacts.basicApi.purge({ objectId: 'bob@example.com', idProperty: 'email' })
console.log(JSON.stringify({ survivor: merged.id, list: list.listId }))
