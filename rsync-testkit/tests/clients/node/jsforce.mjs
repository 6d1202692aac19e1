// Drives the simulator with jsforce, as a user of the real service would.
// Prints one JSON document on success; any difference from what the client should see ends the program.
import assert from 'node:assert/strict'
import jsforce from 'jsforce'

const { SIM_BASE_URL: loginUrl, SIM_CLIENT_ID: clientId, SIM_CLIENT_SECRET: clientSecret } = process.env
const connection = new jsforce.Connection({ version: '66.0', oauth2: { loginUrl, clientId, clientSecret } })
const user = await connection.authorize({ grant_type: 'client_credentials' })
assert.match(user.id, /^005/)
assert.equal(connection.instanceUrl, loginUrl)

const described = await connection.sobject('Contact').describe()
const key = described.fields.find((field) => field.name === 'Ext__c')
assert.ok(key.externalId && key.unique && !key.caseSensitive)
const global = await connection.describeGlobal()
assert.equal(global.maxBatchSize, 200)

const account = await connection.sobject('Account').create({ Name: 'Analytical Engines', Ext__c: 'engines' })
assert.equal(account.success, true)

const created = await connection.sobject('Contact').upsert(
  [
    { Ext__c: 'ada', LastName: 'Lovelace', Email: 'Ada@Example.com', Account: { Ext__c: 'ENGINES' } },
    { Ext__c: 'bob', LastName: 'Babbage', Email: 'nobody' },
  ],
  'Ext__c',
)
assert.deepEqual(created.map((result) => result.success), [true, false])
assert.equal(created[0].created, true)
assert.equal(created[1].errors[0].statusCode, 'INVALID_EMAIL_ADDRESS')
assert.deepEqual(created[1].errors[0].fields, ['Email'])

const updated = await connection.sobject('Contact').upsert([{ Ext__c: 'ADA', FirstName: 'Augusta' }], 'Ext__c')
assert.deepEqual([updated[0].created, updated[0].id], [false, created[0].id])
await connection.sobject('Contact').upsert([{ Ext__c: 'ada', Title: 'Countess' }], 'Ext__c')

// More than one request can take: the client splits it.
const many = Array.from({ length: 250 }, (_, i) => ({ Ext__c: `row-${i}`, LastName: `Row ${i}`, Email: `r${i}@example.com` }))
const results = await connection.sobject('Contact').upsert(many, 'Ext__c', { allowRecursive: true })
assert.equal(results.filter((result) => result.success && result.created).length, 250)

const found = await connection.sobject('Contact').find({ Ext__c: { $in: ['ADA', "o'neill"] } }, ['Id', 'Name', 'Email', 'Account.Name'])
assert.equal(found.length, 1)
assert.deepEqual(
  [found[0].Name, found[0].Email, found[0].Account.Name],
  ['Augusta Lovelace', 'ada@example.com', 'Analytical Engines'],
)
const page = await connection.query('SELECT Id FROM Contact ORDER BY Ext__c LIMIT 3')
assert.deepEqual([page.totalSize, page.done], [3, true])

await assert.rejects(connection.query('SELECT Nope FROM Contact'), (error) => error.errorCode === 'INVALID_FIELD')
await assert.rejects(
  connection.sobject('Contact').create({ FirstName: 'Only' }),
  (error) => error.errorCode === 'REQUIRED_FIELD_MISSING',
)
const changed = await connection.sobject('Contact').update([
  { Id: created[0].id, Department: 'Mathematics' },
  { Id: results[0].id, LastName: null },
])
assert.deepEqual(changed.map((result) => result.success), [true, false])
assert.equal(changed[1].errors[0].statusCode, 'REQUIRED_FIELD_MISSING')
const one = await connection.sobject('Contact').retrieve(created[0].id)
assert.deepEqual([one.Department, one.Title, one.MobilePhone], ['Mathematics', 'Countess', null])
const read = await connection.sobject('Contact').retrieve([created[0].id, results[1].id])
assert.deepEqual(read.map((record) => record.LastName), ['Lovelace', 'Row 1'])

const extra = await connection.sobject('Contact').create([{ LastName: 'Extra', Email: 'x@example.com' }, { LastName: 'Extra', Email: 'y@example.com' }])
const removed = await connection.sobject('Contact').destroy(extra.map((result) => result.id))
assert.deepEqual(removed.map((result) => result.success), [true, true])
const again = await connection.sobject('Contact').destroy(extra.map((result) => result.id))
assert.equal(again[0].errors[0].statusCode, 'ENTITY_IS_DELETED')
const last = await connection.sobject('Contact').create({ LastName: 'Last', Email: 'last@example.com' })
assert.equal(last.success, true)

// Bulk API 2.0: the client makes the job, uploads, closes, polls and reads all three results.
connection.bulk2.pollInterval = 50
connection.bulk2.pollTimeout = 30_000
const loaded = await connection.bulk2.loadAndWaitForResults({
  object: 'Contact',
  operation: 'upsert',
  externalIdFieldName: 'Ext__c',
  input: [
    { Ext__c: 'bulk-1', LastName: 'Quote "and", comma', Email: 'b1@example.com', 'Account.Ext__c': 'ENGINES' },
    { Ext__c: 'bulk-2', LastName: 'Line\nbreak', Email: 'b2@example.com', 'Account.Ext__c': '' },
    { Ext__c: 'bulk-3', LastName: 'Bad', Email: 'nobody', 'Account.Ext__c': '' },
  ],
})
assert.deepEqual(loaded.successfulResults.map((row) => row.Ext__c).sort(), ['bulk-1', 'bulk-2'])
assert.ok(loaded.successfulResults.every((row) => row.sf__Created === 'true' && row.sf__Id.startsWith('003')))
assert.equal(loaded.failedResults.length, 1)
assert.match(loaded.failedResults[0].sf__Error, /^INVALID_EMAIL_ADDRESS:.*:Email --$/)
assert.equal(loaded.unprocessedRecords.length, 0)
const dropped = await connection.bulk2.loadAndWaitForResults({
  object: 'Contact',
  operation: 'delete',
  input: loaded.successfulResults.filter((row) => row.Ext__c === 'bulk-2').map((row) => ({ Id: row.sf__Id })),
})
assert.equal(dropped.successfulResults.length, 1)
const aborted = connection.bulk2.createJob({ object: 'Contact', operation: 'insert' })
await aborted.open()
assert.equal((await aborted.check()).state, 'Open')
await aborted.abort()
await aborted.delete()

// Composite: the second part refers to the first.
const composed = await connection.requestPost('/composite', {
  allOrNone: true,
  compositeRequest: [
    { method: 'POST', url: '/services/data/v66.0/sobjects/Account', referenceId: 'acme', body: { Name: 'Acme', Ext__c: 'acme' } },
    {
      method: 'PATCH',
      url: '/services/data/v66.0/composite/sobjects/Contact/Ext__c',
      referenceId: 'rows',
      body: { records: [{ attributes: { type: 'Contact' }, Ext__c: 'bulk-1', AccountId: '@{acme.id}' }] },
    },
  ],
})
assert.deepEqual(composed.compositeResponse.map((part) => part.httpStatusCode), [201, 200])

assert.ok(connection.limitInfo.apiUsage.limit === 1_000_000)
const count = await connection.sobject('Contact').count({})
console.log(JSON.stringify({ contacts: count, organization: user.organizationId }))
