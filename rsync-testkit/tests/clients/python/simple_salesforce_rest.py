"""Drives the simulator with simple-salesforce, which speaks HTTPS only.

Prints one JSON document on success; any difference from what the client should see ends the program.
"""

import csv
import io
import json
import os
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceResourceNotFound,
)

BASE = os.environ["SIM_BASE_URL"]
LOGIN = "https://login.salesforce.com"


class ToSimulator(HTTPAdapter):
    """The client builds the login address itself; the session's transport takes it to the simulator."""

    def send(self, request, **kwargs):
        request.url = request.url.replace(LOGIN, BASE, 1)
        return super().send(request, **kwargs)


def session():
    made = requests.Session()
    # The environment may name another authority and a proxy, which would win over what is set here.
    made.trust_env = False
    made.verify = os.environ["SIM_CA_FILE"]
    made.mount(LOGIN, ToSimulator())
    return made


def sign_in(username):
    return Salesforce(
        username=username,
        consumer_key=os.environ["SIM_CLIENT_ID"],
        privatekey_file=os.environ["SIM_KEY_FILE"],
        version="66.0",
        session=session(),
    )


try:
    sign_in("nobody@example.com")
    raise AssertionError("signed in as nobody")
except SalesforceAuthenticationFailed as error:
    assert error.code == "invalid_grant", error.code

client = sign_in(os.environ["SIM_USERNAME"])
assert client.sf_instance == BASE.removeprefix("https://"), client.sf_instance

fields = {field["name"]: field for field in client.Contact.describe()["fields"]}
assert fields["Ext__c"]["externalId"] and fields["LastName"]["length"] == 80
assert "Contact" in [o["name"] for o in client.describe()["sobjects"]]

created = client.Contact.create({"LastName": "Lovelace", "Email": "Ada@Example.com", "Ext__c": "a-1"})
assert created["success"] and created["id"].startswith("003"), created
ada = created["id"]
assert client.Contact.update(ada, {"FirstName": "Ada", "Birthdate": "1815-12-10"}) == 204
assert client.Contact.upsert("Ext__c/A-1", {"Title": "Countess"}) == 200
second = "Ext__c/" + quote("b/2?", safe="")
assert client.Contact.upsert(second, {"LastName": "Babbage", "Email": "bob@example.com"}) == 201

# The session ends; the client signs in again by itself.
assert session().post(f"{BASE}/_sim/expire").status_code == 204
read = client.Contact.get(ada)
assert (read["Name"], read["Email"], read["Birthdate"]) == ("Ada Lovelace", "ada@example.com", "1815-12-10"), read
assert client.Contact.get_by_custom_id("Ext__c", "a-1")["Id"] == ada

batch = client.restful(
    "composite/sobjects/Contact/Ext__c",
    method="PATCH",
    data=json.dumps(
        {
            "records": [
                {"attributes": {"type": "Contact"}, "Ext__c": "a-1", "Department": "Mathematics"},
                {"attributes": {"type": "Contact"}, "Ext__c": "c-3", "Email": "bad"},
            ]
        }
    ),
)
assert [row["success"] for row in batch] == [True, False], batch
assert batch[1]["errors"][0]["statusCode"] == "INVALID_EMAIL_ADDRESS", batch

found = client.query("SELECT Id, LastName FROM Contact WHERE Ext__c IN ('A-1', 'b/2?') ORDER BY LastName")
assert [record["LastName"] for record in found["records"]] == ["Babbage", "Lovelace"], found
usage = client.api_usage["api-usage"]
assert usage.total == 1_000_000 and usage.used > 0, usage

for attempt, expected in (
    (lambda: client.Contact.create({"FirstName": "Only"}), SalesforceMalformedRequest),
    (lambda: client.Contact.get("003ak000000000zAAA"), SalesforceResourceNotFound),
    (lambda: client.query("SELECT Nope FROM Contact"), SalesforceMalformedRequest),
):
    try:
        attempt()
        raise AssertionError(f"no {expected.__name__}")
    except expected:
        pass

twins = [client.Contact.create({"LastName": "Twin", "Email": "twin@example.com"})["id"] for _ in range(2)]
try:
    client.Contact.upsert("Email/twin@example.com", {"Title": "t"})
    raise AssertionError("an ambiguous key was accepted")
except SalesforceMoreThanOneRecord as error:
    assert len(error.content) == 2, error.content
for twin in twins:
    assert client.Contact.delete(twin) == 204

# Bulk API 2.0: the client makes the job, uploads, closes and polls.
bulk = client.bulk2.Contact
rows = [
    {"Ext__c": "bulk-1", "LastName": 'Quote "and", comma', "Email": "b1@example.com", "Title": ""},
    {"Ext__c": "bulk-2", "LastName": "Bad", "Email": "nobody", "Title": ""},
    {"Ext__c": "a-1", "LastName": "", "Email": "", "Title": "#N/A"},
]
outcome = bulk.upsert(records=rows, external_id_field="Ext__c", wait=1)[0]
assert (outcome["numberRecordsTotal"], outcome["numberRecordsFailed"]) == (3, 1), outcome
job = outcome["job_id"]
assert "INVALID_EMAIL_ADDRESS:" in bulk.get_failed_records(job), bulk.get_failed_records(job)
done = bulk.get_successful_records(job)
# The client puts the columns in any order.
table = list(csv.DictReader(io.StringIO(done)))
assert sorted((row["Ext__c"], row["sf__Created"]) for row in table) == [("a-1", "false"), ("bulk-1", "true")], done
assert len(bulk.get_unprocessed_records(job).splitlines()) == 1
assert client.Contact.get(ada)["Title"] is None
first = client.Contact.get_by_custom_id("Ext__c", "bulk-1")["Id"]
outcome = bulk.delete(records=[{"Id": first}], wait=1)[0]
assert outcome["numberRecordsFailed"] == 0, outcome

composed = client.restful(
    "composite",
    method="POST",
    json={
        "allOrNone": True,
        "compositeRequest": [
            {
                "method": "POST",
                "url": "/services/data/v66.0/sobjects/Account",
                "referenceId": "acme",
                "body": {"Name": "Acme"},
            },
            {
                "method": "PATCH",
                "url": f"/services/data/v66.0/sobjects/Contact/{ada}",
                "referenceId": "ada",
                "body": {"AccountId": "@{acme.id}"},
            },
        ],
    },
)
assert [part["httpStatusCode"] for part in composed["compositeResponse"]] == [201, 204], composed

by_secret = Salesforce(
    session_id=client.session_id, instance_url=BASE, version="60.0", session=session()
)
total = by_secret.query("SELECT COUNT() FROM Contact")["totalSize"]
print(json.dumps({"contacts": total}))
