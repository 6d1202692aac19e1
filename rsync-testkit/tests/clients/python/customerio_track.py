"""Drives the simulator with the official Python client, as a user of the real service would.

Prints one JSON document on success; any difference from what the client should see ends the program.
"""

import json
import os
from urllib.parse import urlsplit

from customerio import CustomerIO, CustomerIOException

base = urlsplit(os.environ["SIM_BASE_URL"])
site, key = os.environ["SIM_SITE_ID"], os.environ["SIM_API_KEY"]
track = CustomerIO(site, key, host=base.hostname, port=base.port, retries=0)

person = "a/b c+d"
answer = track.identify(person, email="ada@example.com", plan="free", age=30, old="x")
assert answer.text == "{}\n", answer.text
# The client turns NaN into null, which removes the attribute.
track.identify(person, plan="pro", age=31, vip=True, old=float("nan"))
track.track(person, "bought", {"price": 5})
track.pageview(person, "/home")
track.track_anonymous("anon", "seen")
track.add_device(person, "token/1", "ios", last_used=1700000000)
track.add_device(person, "token/2", "android")
track.delete_device(person, "token/2")

track.identify("gone", email="gone@example.com")
track.delete("gone")
track.identify("blocked")
track.suppress("blocked")
track.identify("blocked", plan="x")
track.suppress("freed")
track.unsuppress("freed")

track.identify("kept")
track.identify("merged@example.com", plan="x")
track.merge_customers("id", "kept", "email", "merged@example.com")


def identify(name, **attributes):
    return {"type": "person", "action": "identify", "identifiers": {"id": name}, "attributes": attributes}


assert track.batch([identify("batch-1", city="Zürich"), identify("batch-2")]).json() == {}
# The client returns a 207 as a success: the refused operation shows in the body only.
partial = track.batch([identify("batch-1", plan="pro"), identify("batch-2", plan="x" * 1001)])
assert partial.status_code == 207
errors = partial.json()["errors"]
assert errors[0]["message"] == "property value cannot be longer than 1000 bytes", errors

for client, wrong, status in [
    (CustomerIO(site, "wrong", host=base.hostname, port=base.port, retries=0), {}, "401"),
    (track, {"id_": "x" * 1001}, "400"),
]:
    try:
        client.identify("x", **wrong)
        raise AssertionError("accepted")
    except CustomerIOException as refusal:
        assert str(refusal).startswith(status), refusal

print(json.dumps({"rejected": [error["batch_index"] for error in errors]}))
