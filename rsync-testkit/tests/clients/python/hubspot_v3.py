"""Drives the simulator with the official Python client of version v3.

Prints one JSON document on success; any difference from what the client should see ends the program.
"""

import json
import os

from hubspot import HubSpot
from hubspot.crm import contacts, properties
from hubspot.crm.contacts.exceptions import ApiException

client = HubSpot(access_token=os.environ["SIM_TOKEN"], host=os.environ["SIM_BASE_URL"])


def entry(trace, email, values):
    return contacts.SimplePublicObjectBatchInputUpsert(
        id=email, id_property="email", object_write_trace_id=trace, properties=values
    )


batch = client.crm.contacts.batch_api
created = batch.upsert(
    contacts.BatchInputSimplePublicObjectBatchInputUpsert(
        inputs=[entry("0", "Ada@Example.com", {"lastname": "Lovelace"}), entry("1", "bob@example.com", {})]
    )
)
assert created.status == "COMPLETE", created
assert sorted(r.properties["email"] for r in created.results) == ["ada@example.com", "bob@example.com"]
assert all(r.new for r in created.results)

partial = batch.upsert(
    contacts.BatchInputSimplePublicObjectBatchInputUpsert(
        inputs=[entry("good", "ada@example.com", {"firstname": "Ada"}), entry("bad", "nobody", {})]
    )
)
assert type(partial).__name__ == "BatchResponseSimplePublicUpsertObjectWithErrors", type(partial)
assert partial.num_errors == 1
assert partial.errors[0].context["objectWriteTraceId"] == ["bad"], partial.errors

read = batch.read(
    contacts.BatchReadInputSimplePublicObjectId(
        id_property="email",
        properties=["firstname"],
        properties_with_history=[],
        inputs=[contacts.SimplePublicObjectId(id="ada@example.com"), contacts.SimplePublicObjectId(id="cy@example.com")],
    )
)
assert [r.properties["firstname"] for r in read.results] == ["Ada"]
assert read.errors[0].context["ids"] == ["cy@example.com"]

found = client.crm.contacts.search_api.do_search(
    contacts.PublicObjectSearchRequest(
        filter_groups=[
            {"filters": [{"propertyName": "email", "operator": "IN", "values": ["bob@example.com"]}]}
        ],
        properties=["email"],
        limit=5,
    )
)
assert found.total == 1 and found.results[0].properties["email"] == "bob@example.com"

client.crm.properties.core_api.create(
    "contacts",
    properties.PropertyCreate(
        name="score", label="Score", type="number", field_type="number", group_name="contactinformation"
    ),
)
names = {p.name: p for p in client.crm.properties.core_api.get_all("contacts").results}
assert names["score"].type == "number" and names["hs_object_id"].modification_metadata.read_only_value

bob = client.crm.contacts.basic_api.get_by_id("bob@example.com", id_property="email")
try:
    client.crm.contacts.basic_api.update(
        bob.id, contacts.SimplePublicObjectInput(properties={"score": "not a number"})
    )
    raise AssertionError("a wrong value was accepted")
except ApiException as refusal:
    assert refusal.status == 400 and json.loads(refusal.body)["errors"][0]["code"] == "INVALID_LONG"

print(json.dumps({"contacts": len(client.crm.contacts.get_all())}))
