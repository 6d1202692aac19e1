"""Drives the simulator with the official Python client of the dated versions.

Prints one JSON document on success; any difference from what the client should see ends the program.
"""

import json
import os

from hubspot_sdk import BadRequestError, HubSpot

client = HubSpot(access_token=os.environ["SIM_TOKEN"], base_url=os.environ["SIM_BASE_URL"], max_retries=0)


def entry(trace, email, values):
    return {"id": email, "id_property": "email", "object_write_trace_id": trace, "properties": values}


batch = client.crm.objects.contacts.batch
created = batch.upsert(inputs=[entry("0", "Ada@Example.com", {"lastname": "L"}), entry("1", "bob@example.com", {})])
assert sorted(r.properties["email"] for r in created.results) == ["ada@example.com", "bob@example.com"]

# This client's typed answer has no field for a 207's errors; they are kept beside it.
partial = batch.upsert(inputs=[entry("good", "ada@example.com", {"firstname": "Ada"}), entry("bad", "nobody", {})])
errors = partial.to_dict()["errors"]
assert errors[0]["context"]["objectWriteTraceId"] == ["bad"], errors

read = batch.get(
    id_property="email", properties=["firstname"], properties_with_history=[], inputs=[{"id": "ada@example.com"}]
)
assert [r.properties["firstname"] for r in read.results] == ["Ada"]

try:
    batch.upsert(inputs=[{"id": "x", "id_property": "firstname", "properties": {}}])
    raise AssertionError("a key that is not unique was accepted")
except BadRequestError as refusal:
    assert "non-unique 0-1 property firstname" in refusal.message, refusal.message

names = [p.name for p in client.crm.properties.list("contacts").results]
assert "email" in names

print(json.dumps({"contacts": 2}))
