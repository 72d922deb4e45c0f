// Sends all six actions' events with Segment's Node SDK and looks at what became of them in the embedded Pipedrive.
import assert from "node:assert/strict";
import { Analytics } from "@segment/analytics-node";

const { SEGMENT_HOST, WRITE_KEY, ADMIN, PIPEDRIVE } = process.env;
let passed = 0;

const api = async (path) => {
  const answer = await fetch(PIPEDRIVE + path, { headers: { "x-api-token": "mock" } });
  const body = await answer.json();
  assert.equal(answer.status, 200, `${path}: ${JSON.stringify(body)}`);
  return body;
};

const fieldKey = async (kind, name) => {
  const { data } = await api(`/api/v2/${kind}Fields?limit=500`);
  return data.find((field) => field.field_name === name).field_code;
};

/** Waits until every delivery of these users has ended, at most 60 s. */
const settled = async (user, expected) => {
  const until = Date.now() + 60_000;
  for (;;) {
    const answer = await fetch(`${ADMIN}/api/events?user=${encodeURIComponent(user)}&limit=200`);
    const { deliveries } = await answer.json();
    const ended = deliveries.filter((delivery) => delivery.state !== "pending");
    if (ended.length >= expected) return ended;
    assert.ok(Date.now() < until, `only ${ended.length} of ${expected} deliveries ended: ${JSON.stringify(deliveries)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

const check = async (name, test) => {
  await test();
  passed += 1;
  console.log(`ok ${name}`);
};

const analytics = new Analytics({ writeKey: WRITE_KEY, host: SEGMENT_HOST, flushAt: 5, flushInterval: 200 });
const failures = [];
analytics.on("error", (error) => failures.push(error));
const userId = "node-sdk-user";
const context = { groupId: "node-sdk-group" };

analytics.group({ userId, groupId: "node-sdk-group", traits: { name: "Node Works" } });
analytics.identify({ userId, context, traits: { name: "Nora Node", email: "nora@node.example", phone: "+1 415 555 0134" } });
await analytics.flush();
analytics.track({ userId, context, event: "Deal Upserted", properties: { deal_id: "node-d1", title: "Node deal", value: 1250.5, currency: "EUR" } });
analytics.track({ userId, context, event: "Lead Upserted", properties: { title: "Node lead", amount: 99, currency: "EUR" } });
analytics.track({ userId, context, event: "Activity Upserted", properties: { subject: "Call Nora", type: "call", due_date: "2026-12-24" } });
analytics.track({ userId, context, event: "Note Upserted", properties: { content: "Sent by the <b>SDK</b>" } });
analytics.page({ userId, name: "Home" });
await analytics.closeAndFlush();

await check("the SDK saw no error", async () => assert.deepEqual(failures, []));
const ended = await settled(userId, 6);
await check("every delivery is done", async () => {
  const bad = ended.filter((delivery) => delivery.state !== "done");
  assert.deepEqual(bad, []);
});

let person, organization;
await check("identify made the person", async () => {
  const key = await fieldKey("person", "Segment User ID");
  const { data } = await api("/api/v2/persons?limit=500");
  const found = data.filter((candidate) => candidate.custom_fields?.[key] === userId);
  assert.equal(found.length, 1);
  [person] = found;
  assert.equal(person.name, "Nora Node");
  assert.equal(person.emails[0].value, "nora@node.example");
});
await check("group made the organization, and the person belongs to it", async () => {
  const key = await fieldKey("organization", "Segment Group ID");
  const { data } = await api("/api/v2/organizations?limit=500");
  const found = data.filter((candidate) => candidate.custom_fields?.[key] === "node-sdk-group");
  assert.equal(found.length, 1);
  [organization] = found;
  assert.equal(organization.name, "Node Works");
  assert.equal(person.org_id, organization.id);
});
await check("Deal Upserted made the deal with its links", async () => {
  const { data } = await api(`/api/v2/deals?person_id=${person.id}`);
  assert.equal(data.length, 1);
  assert.equal(data[0].title, "Node deal");
  assert.equal(data[0].value, 1250.5);
  assert.equal(data[0].org_id, organization.id);
});
await check("Lead Upserted made the lead", async () => {
  const { data } = await api(`/api/v1/leads?person_id=${person.id}`);
  assert.equal(data.length, 1);
  assert.equal(data[0].title, "Node lead");
  assert.deepEqual(data[0].value, { amount: 99, currency: "EUR" });
});
await check("Activity Upserted made the activity", async () => {
  const { data } = await api(`/api/v2/activities?person_id=${person.id}`);
  assert.equal(data.length, 1);
  assert.equal(data[0].subject, "Call Nora");
});
await check("Note Upserted made the note", async () => {
  const { data } = await api(`/api/v1/notes?person_id=${person.id}`);
  assert.equal(data.length, 1);
});

console.log(`${passed} passed, 0 failed`);
