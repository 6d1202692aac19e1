"""Drives objects, relationships and devices through the batch of the official Python client.

Prints one JSON document on success; any difference from what the client should see ends the program.
"""

import json
import os
from urllib.parse import urlsplit

from customerio import CustomerIO

base = urlsplit(os.environ["SIM_BASE_URL"])
site, key = os.environ["SIM_SITE_ID"], os.environ["SIM_API_KEY"]
track = CustomerIO(site, key, host=base.hostname, port=base.port, retries=0)

acme = {"object_type_id": "1", "object_id": "acme"}
gone = {"object_type_id": "1", "object_id": "gone"}


def person(action, who, **more):
    return {"type": "person", "action": action, "identifiers": {"id": who}, **more}


def thing(action, identifiers, **more):
    return {"type": "object", "action": action, "identifiers": identifiers, **more}


link = [{"identifiers": acme, "relationship_attributes": {"role": "admin"}}]
# One batch after the other: the order inside one is not promised.
for batch in [
    [thing("identify", acme, attributes={"name": "Acme"}), thing("identify", gone), person("identify", "a")],
    [
        thing("delete", gone),
        person("add_relationships", "a", cio_relationships=link),
        person("add_device", "a", device={"token": "t1", "platform": "ios"}),
        person("event", "a", name="bought", id="01FCCC6WTYJ24V0W2BX96BW0GT", attributes={"price": 5}),
        person("page", "a", name="/home"),
        person("screen", "a", name="main"),
        person("suppress", "blocked"),
    ],
    [
        person("delete_device", "a", device={"token": "t1"}),
        person("event", "a", name="bought", id="01FCCC6WTYJ24V0W2BX96BW0GT", attributes={"price": 5}),
        person("identify", "blocked", attributes={"plan": "x"}),
    ],
]:
    answer = track.batch(batch)
    assert (answer.status_code, answer.text) == (200, "{}\n"), answer.text

refused = track.batch([thing("identify", {"object_type_id": "x", "object_id": "y"}), person("fly", "a")])
assert refused.status_code == 207, refused.text
print(json.dumps({"rejected": [error["field"] for error in refused.json()["errors"]]}))
