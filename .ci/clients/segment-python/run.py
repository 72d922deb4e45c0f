"""Sends events with Segment's Python SDK, plain and gzipped, and looks at what became of them in the embedded Pipedrive."""

import json
import os
import time
import urllib.request

from segment.analytics.client import Client

HOST, KEY = os.environ["SEGMENT_HOST"], os.environ["WRITE_KEY"]
ADMIN, PIPEDRIVE = os.environ["ADMIN"], os.environ["PIPEDRIVE"]


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return json.load(answer)


def settled(user, expected):
    until = time.time() + 60
    while True:
        deliveries = get(f"{ADMIN}/api/events?user={user}&limit=200")["deliveries"]
        ended = [d for d in deliveries if d["state"] != "pending"]
        if len(ended) >= expected:
            return ended
        assert time.time() < until, f"only {len(ended)} of {expected} deliveries ended: {deliveries}"
        time.sleep(0.1)


passed = 0
fields = get(f"{PIPEDRIVE}/api/v2/personFields?limit=500", **{"x-api-token": "mock"})["data"]
user_key = next(f["field_code"] for f in fields if f["field_name"] == "Segment User ID")

for gzip in (False, True):
    errors = []
    client = Client(KEY, host=HOST, gzip=gzip, on_error=lambda error, items: errors.append(error))
    user = f"python-sdk-{'gzip' if gzip else 'plain'}"
    client.identify(user, {"name": f"Pia {user}", "email": f"{user}@python.example", "phone": None})
    client.track(user, "Note Upserted", {"content": "Sent from Python"})
    client.shutdown()
    assert errors == [], errors
    ended = settled(user, 2)
    assert all(d["state"] == "done" for d in ended), ended
    persons = get(f"{PIPEDRIVE}/api/v2/persons?limit=500", **{"x-api-token": "mock"})["data"]
    mine = [p for p in persons if (p.get("custom_fields") or {}).get(user_key) == user]
    assert len(mine) == 1, mine
    assert mine[0]["emails"][0]["value"] == f"{user}@python.example"
    notes = get(f"{PIPEDRIVE}/api/v1/notes?person_id={mine[0]['id']}", **{"x-api-token": "mock"})["data"]
    assert len(notes) == 1, notes
    passed += 1
    print(f"ok gzip={gzip}")

print(f"{passed} passed, 0 failed")
