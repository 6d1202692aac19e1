"""Drives associations, lists, merge and erasure with the official Python client of version v3.

Prints one JSON document on success; any difference from what the client should see ends the program.
"""

import json
import os

from hubspot import HubSpot
from hubspot.crm import contacts, lists
from hubspot.crm.associations import v4
from hubspot.crm.lists.exceptions import ApiException

client = HubSpot(access_token=os.environ["SIM_TOKEN"], host=os.environ["SIM_BASE_URL"])


def contact(email):
    record = {"properties": {"email": email}, "associations": []}
    return client.crm.contacts.basic_api.create(simple_public_object_input_for_create=record)


company = client.crm.companies.basic_api.create(
    simple_public_object_input_for_create={"properties": {"name": "Analytical Engines"}, "associations": []}
)
ada, bob, eve = [contact(f"{name}@example.com") for name in ("ada", "bob", "eve")]

batch = client.crm.associations.v4.batch_api

made = batch.create_default(
    "contacts",
    "companies",
    v4.BatchInputPublicDefaultAssociationMultiPost(
        inputs=[
            v4.PublicDefaultAssociationMultiPost(
                _from=v4.PublicObjectId(id=record.id), to=v4.PublicObjectId(id=company.id)
            )
            for record in (ada, bob)
        ]
    ),
)
assert made.status == "COMPLETE", made
read = batch.get_page(
    "contacts",
    "companies",
    v4.BatchInputPublicFetchAssociationsBatchRequest(
        inputs=[v4.PublicFetchAssociationsBatchRequest(id=ada.id), v4.PublicFetchAssociationsBatchRequest(id=eve.id)]
    ),
)
assert [kind.type_id for kind in read.results[0].to[0].association_types] == [279], read
assert read.num_errors == 1 and read.errors[0].sub_category == "crm.associations.NO_ASSOCIATIONS_FOUND", read

made = client.crm.lists.lists_api.create(
    list_create_request=lists.ListCreateRequest(name="Churn risk", object_type_id="0-1", processing_type="MANUAL")
)
members = client.crm.lists.memberships_api
changed = members.add(made.list.list_id, [ada.id, bob.id, "12"])
assert changed.record_ids_missing == ["12"], changed
members.remove(made.list.list_id, [bob.id])
members.add_and_remove(
    made.list.list_id, lists.MembershipChangeRequest(record_ids_to_add=[eve.id], record_ids_to_remove=[bob.id])
)
page = members.get_page(made.list.list_id)
assert [member.record_id for member in page.results] == [ada.id, eve.id], page
try:
    members.add("99", [ada.id])
    raise AssertionError("a list that does not exist was changed")
except ApiException as refusal:
    assert refusal.status == 404, refusal

merged = client.crm.contacts.basic_api.merge(
    public_merge_input=contacts.PublicMergeInput(primary_object_id=ada.id, object_id_to_merge=eve.id)
)
client.crm.contacts.basic_api.purge(
    public_gdpr_delete_input=contacts.PublicGdprDeleteInput(object_id="bob@example.com", id_property="email")
)
print(json.dumps({"survivor": merged.id, "list": made.list.list_id}))
