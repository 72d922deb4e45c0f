// Drives a server that speaks Pipedrive's API with Pipedrive's own client: create, read, change, search and delete of every
// kind, fields and what they refer to. Ends with `N passed, 0 failed` and 0, or says what failed and ends with 1.
//
//   PIPEDRIVE_BASE_URL=http://127.0.0.1:9090 PIPEDRIVE_API_TOKEN=mock node run.mjs

import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import pipedrive from "pipedrive";

const { v1, v2 } = pipedrive;
const base = (process.env.PIPEDRIVE_BASE_URL ?? "http://127.0.0.1:9090").replace(/\/+$/, "");
const apiKey = process.env.PIPEDRIVE_API_TOKEN ?? "mock";
const one = new v1.Configuration({ apiKey, basePath: `${base}/v1` });
const two = new v2.Configuration({ apiKey, basePath: `${base}/api/v2` });
const api1 = (name) => paced(new v1[`${name}Api`](one));
const api2 = (name) => paced(new v2[`${name}Api`](two));

/// The client keeps no limits, so this does: the general one and that of searches, per two seconds.
const windows = { all: { limit: 80, sent: [] }, search: { limit: 9, sent: [] } };

async function place({ limit, sent }) {
  while (sent.length > 0 && sent[0] + 2100 <= Date.now()) sent.shift();
  if (sent.length >= limit) await wait(sent[0] + 2100 - Date.now());
  sent.push(Date.now());
}

function paced(api) {
  return new Proxy(api, {
    get(target, name) {
      const value = target[name];
      if (typeof value !== "function") return value;
      return async (...given) => {
        if (String(name).startsWith("search")) await place(windows.search);
        await place(windows.all);
        return value.apply(target, given);
      };
    },
  });
}

let passed = 0;
let failed = 0;

async function check(name, run) {
  try {
    await run();
    passed += 1;
  } catch (error) {
    failed += 1;
    console.error(`FAILED ${name}: ${error?.stack ?? JSON.stringify(error)}`);
  }
}

/// The refusal's body, which the client throws in place of an error.
async function refused(promise, code) {
  const body = await promise.then(
    (answer) => assert.fail(`was not refused: ${JSON.stringify(answer)}`),
    (error) => error,
  );
  assert.equal(body.success, false, JSON.stringify(body));
  if (code) assert.equal(body.code, code, JSON.stringify(body));
  return body;
}

/// Asks until the answer is there: the search index lags, a conversion takes its time.
async function eventually(ask, found, seconds = 15) {
  for (let i = 0; i < seconds * 2; i += 1) {
    const answer = await ask();
    if (found(answer)) return answer;
    await wait(500);
  }
  return assert.fail("was not found in time");
}

const stamp = Date.now().toString(36);
const made = {};

await check("users", async () => {
  const me = await api1("Users").getCurrentUser();
  assert.equal(me.data.is_you, true);
  const all = await api1("Users").getUsers();
  assert.ok(all.data.some((u) => u.id === me.data.id));
  assert.ok(all.data.some((u) => !u.active_flag), "an inactive user");
  const found = await api1("Users").findUsersByName({ term: me.data.email, search_by_email: 1 });
  assert.equal(found.data[0].id, me.data.id);
  made.me = me.data.id;
});

await check("activity types, currencies, lead sources, note and lead fields", async () => {
  assert.ok((await api1("ActivityTypes").getActivityTypes()).data.some((t) => t.key_string === "call"));
  assert.ok((await api1("Currencies").getCurrencies({ term: "EUR" })).data.some((c) => c.code === "EUR"));
  assert.ok((await api1("LeadSources").getLeadSources()).data.some((s) => s.name === "API"));
  assert.ok((await api1("NoteFields").getNoteFields()).data.some((f) => f.key === "content"));
  const lead = await api1("LeadFields").getLeadFields({ limit: 500 });
  assert.ok(lead.data.some((f) => f.key === "title"));
  assert.equal(typeof lead.additional_data.more_items_in_collection, "boolean");
});

await check("pipelines and stages", async () => {
  const pipelines = await api2("Pipelines").getPipelines();
  assert.ok(pipelines.data.length >= 2);
  const stages = await api2("Stages").getStages({ pipeline_id: pipelines.data[1].id, sort_by: "order_nr" });
  assert.ok(stages.data.every((s) => s.pipeline_id === pipelines.data[1].id));
  made.pipeline = pipelines.data[1].id;
  made.stage = stages.data[0].id;
  made.otherStage = (await api2("Stages").getStages({ pipeline_id: pipelines.data[0].id })).data[0].id;
  const added = await api2("Pipelines").addPipeline({ AddPipelineRequest: { name: `P ${stamp}` } });
  const stage = await api2("Stages").addStage({ AddStageRequest: { name: "First", pipeline_id: added.data.id } });
  assert.equal((await api2("Stages").getStage({ id: stage.data.id })).data.name, "First");
  await api2("Stages").deleteStage({ id: stage.data.id });
  await api2("Pipelines").deletePipeline({ id: added.data.id });
});

const types = [
  ["varchar", "text one", "changed"],
  ["varchar_auto", "auto", "other"],
  ["text", "long\ntext", "longer"],
  ["double", 1.5, 2],
  ["phone", "+372 555 0000", "+372 555 0001"],
  ["date", "2026-02-03", "2026-02-04"],
  ["monetary", { value: 10, currency: "EUR" }, { value: 12.5, currency: "USD" }],
  ["daterange", { value: "2026-01-01", until: "2026-12-31" }, { value: "2026-02-01", until: "2026-02-28" }],
  ["time", { value: "09:00:00" }, { value: "10:30:00" }],
  ["timerange", { value: "09:00:00", until: "17:00:00" }, { value: "10:00:00", until: "11:00:00" }],
  ["user", () => made.me, () => made.me],
];

for (const [word, entity, add, path] of [
  ["person", "Person", (custom_fields) => ({ name: `Field Test ${stamp}`, custom_fields }), "Persons"],
  ["organization", "Organization", (custom_fields) => ({ name: `Field Test ${stamp}`, custom_fields }), "Organizations"],
  ["deal", "Deal", (custom_fields) => ({ title: `Field Test ${stamp}`, custom_fields }), "Deals"],
]) {
  await check(`fields and custom values of a ${word}`, async () => {
    const fields = api2(`${entity}Fields`);
    const values = {};
    const changes = {};
    const keys = [];
    for (const [type, first, second] of types) {
      const field = await fields[`add${entity}Field`]({
        [`Add${entity}FieldRequest`]: { field_name: `${type} ${stamp}`, field_type: type },
      });
      assert.match(field.data.field_code, /^[0-9a-f]{40}$/);
      keys.push(field.data.field_code);
      values[field.data.field_code] = typeof first === "function" ? first() : first;
      changes[field.data.field_code] = typeof second === "function" ? second() : second;
    }
    const options = (labels) => labels.map((label) => ({ label }));
    const choice = await fields[`add${entity}Field`]({
      [`Add${entity}FieldRequest`]: { field_name: `enum ${stamp}`, field_type: "enum", options: options(["a", "b"]) },
    });
    const several = await fields[`add${entity}Field`]({
      [`Add${entity}FieldRequest`]: { field_name: `set ${stamp}`, field_type: "set", options: options(["x", "y", "z"]) },
    });
    values[choice.data.field_code] = choice.data.options[0].id;
    changes[choice.data.field_code] = choice.data.options[1].id;
    values[several.data.field_code] = several.data.options.slice(0, 2).map((o) => o.id);
    changes[several.data.field_code] = [several.data.options[2].id];

    const records = api2(path);
    const created = await records[`add${entity}`]({ [`Add${entity}Request`]: add(values) });
    const read = await records[`get${entity}`]({ id: created.data.id });
    for (const [key, value] of Object.entries(values)) assertHolds(read.data.custom_fields[key], value);
    const updated = await records[`update${entity}`]({
      id: created.data.id,
      [`Update${entity}Request`]: { custom_fields: changes },
    });
    for (const [key, value] of Object.entries(changes)) assertHolds(updated.data.custom_fields[key], value);
    const cleared = await records[`update${entity}`]({
      id: created.data.id,
      [`Update${entity}Request`]: { custom_fields: { [keys[0]]: null, [choice.data.field_code]: null } },
    });
    assert.equal(cleared.data.custom_fields[keys[0]], null);
    const narrow = await records[`get${path}`]({ ids: String(created.data.id), custom_fields: keys[1] });
    assert.deepEqual(Object.keys(narrow.data[0].custom_fields), [keys[1]]);

    await refused(
      records[`update${entity}`]({ id: created.data.id, [`Update${entity}Request`]: { custom_fields: { [choice.data.field_code]: "a" } } }),
      "ERR_SCHEMA_VALIDATION_FAILED",
    );
    await refused(
      records[`update${entity}`]({ id: created.data.id, [`Update${entity}Request`]: { custom_fields: { ["0".repeat(40)]: 1 } } }),
      "ERR_SCHEMA_VALIDATION_FAILED",
    );

    const more = await fields[`add${entity}FieldOptions`]({
      field_code: choice.data.field_code,
      AddDealFieldOptionsRequestInner: options(["c"]),
    });
    assert.equal(more.data[0].label, "c");
    const renamed = await fields[`update${entity}FieldOptions`]({
      field_code: choice.data.field_code,
      UpdateDealFieldOptionsRequestInner: [{ id: more.data[0].id, label: "d" }],
    });
    assert.equal(renamed.data[0].label, "d");
    await fields[`delete${entity}FieldOptions`]({
      field_code: choice.data.field_code,
      DeleteDealFieldOptionsRequestInner: [{ id: more.data[0].id }],
    });
    const listed = await fields[`get${entity}Fields`]({ limit: 500 });
    assert.ok(listed.data.some((f) => f.field_code === keys[0] && f.is_custom_field));
    await fields[`update${entity}Field`]({ field_code: keys[0], [`Update${entity}FieldRequest`]: { field_name: `renamed ${stamp}` } });
    assert.equal((await fields[`get${entity}Field`]({ field_code: keys[0] })).data.field_name, `renamed ${stamp}`);
    for (const key of [...keys, choice.data.field_code, several.data.field_code]) await fields[`delete${entity}Field`]({ field_code: key });
    await records[`delete${entity}`]({ id: created.data.id });
  });
}

function assertHolds(actual, expected) {
  if (expected !== null && typeof expected === "object" && !Array.isArray(expected)) {
    for (const [key, value] of Object.entries(expected)) assert.deepEqual(actual[key], value);
  } else {
    assert.deepEqual(actual, expected);
  }
}

await check("activity fields", async () => {
  const fields = await api2("ActivityFields").getActivityFields();
  assert.ok(fields.data.some((f) => f.field_code === "subject"));
  assert.equal((await api2("ActivityFields").getActivityField({ field_code: "subject" })).data.field_code, "subject");
});

await check("organizations", async () => {
  const organizations = api2("Organizations");
  const created = await organizations.addOrganization({
    AddOrganizationRequest: { name: `Org ${stamp}`, address: { value: "1 Main Street" }, website: "https://example.org", employee_count: 5 },
  });
  made.org = created.data.id;
  const changed = await organizations.updateOrganization({ id: made.org, UpdateOrganizationRequest: { annual_revenue: 1000, website: null } });
  assert.equal(changed.data.website, null);
  assert.equal((await organizations.getOrganization({ id: made.org, include_fields: "people_count" })).data.people_count, 0);
  assert.equal((await organizations.getOrganizations({ ids: String(made.org) })).data[0].name, `Org ${stamp}`);
});

await check("persons", async () => {
  const persons = api2("Persons");
  const created = await persons.addPerson({
    AddPersonRequest: {
      name: `Jane ${stamp}`,
      org_id: made.org,
      emails: [{ value: `jane.${stamp}@example.org`, primary: true, label: "work" }],
      phones: [{ value: "+372 555 1234" }],
    },
  });
  made.person = created.data.id;
  assert.equal(created.data.first_name, "Jane");
  assert.equal(created.data.phones[0].primary, true);
  const changed = await persons.updatePerson({
    id: made.person,
    UpdatePersonRequest: { emails: [...created.data.emails, { value: `second.${stamp}@example.org`, primary: false }] },
  });
  assert.equal(changed.data.emails.length, 2);
  assert.equal((await persons.getPersons({ org_id: made.org })).data[0].id, made.person);
  const page = await persons.getPersons({ limit: 1, sort_by: "update_time", sort_direction: "desc" });
  assert.equal(page.data[0].id, made.person);
  const next = await persons.getPersons({ limit: 1, sort_by: "update_time", sort_direction: "desc", cursor: page.additional_data.next_cursor });
  assert.notEqual(next.data[0].id, made.person);
  await refused(persons.addPerson({ AddPersonRequest: { name: "X", owner_id: "1" } }), "ERR_SCHEMA_VALIDATION_FAILED");
  await refused(persons.addPerson({ AddPersonRequest: { name: "X", org_id: 987654 } }), "ERR_BAD_REQUEST");
});

await check("deals", async () => {
  const deals = api2("Deals");
  const created = await deals.addDeal({
    AddDealRequest: { title: `Deal ${stamp}`, person_id: made.person, org_id: made.org, stage_id: made.stage, value: 100, currency: "USD" },
  });
  made.deal = created.data.id;
  assert.equal(created.data.pipeline_id, made.pipeline);
  const won = await deals.updateDeal({ id: made.deal, UpdateDealRequest: { status: "won" } });
  assert.ok(won.data.won_time);
  await deals.updateDeal({ id: made.deal, UpdateDealRequest: { status: "open" } });
  assert.equal((await deals.getDeals({ person_id: made.person, status: "open" })).data[0].id, made.deal);
  await refused(
    deals.updateDeal({ id: made.deal, UpdateDealRequest: { pipeline_id: made.pipeline, stage_id: made.otherStage } }),
    "ERR_BAD_REQUEST",
  );
  assert.ok(Array.isArray((await deals.getArchivedDeals({ limit: 1 })).data));
});

await check("activities", async () => {
  const activities = api2("Activities");
  const created = await activities.addActivity({
    AddActivityRequest: {
      subject: `Call ${stamp}`,
      type: "call",
      deal_id: made.deal,
      due_date: "2026-12-24",
      due_time: "10:00:00",
      participants: [{ person_id: made.person, primary: true }],
    },
  });
  assert.equal(created.data.person_id, made.person);
  const done = await activities.updateActivity({ id: created.data.id, AddActivityRequest: { done: true }, UpdateActivityRequest: { done: true } });
  assert.equal(done.data.done, true);
  assert.equal((await activities.getActivities({ deal_id: made.deal, done: true })).data[0].id, created.data.id);
  assert.equal((await activities.getActivity({ id: created.data.id, include_fields: "attendees" })).data.subject, `Call ${stamp}`);
  await refused(activities.addActivity({ AddActivityRequest: { subject: "X", person_id: made.person } }), "ERR_BAD_REQUEST");
  await activities.deleteActivity({ id: created.data.id });
});

await check("lead labels", async () => {
  const labels = api1("LeadLabels");
  const created = await labels.addLeadLabel({ AddLeadLabelRequest: { name: `L ${stamp}`, color: "green" } });
  await labels.updateLeadLabel({ id: created.data.id, UpdateLeadLabelRequest: { name: `M ${stamp}` } });
  assert.ok((await labels.getLeadLabels()).data.some((l) => l.name === `M ${stamp}`));
  made.label = created.data.id;
});

await check("leads", async () => {
  const leads = api1("Leads");
  const created = await leads.addLead({
    AddLeadRequest: {
      title: `Lead ${stamp}`,
      person_id: made.person,
      label_ids: [made.label],
      value: { amount: 50, currency: "EUR" },
      visible_to: "3",
    },
  });
  made.lead = created.data.id;
  assert.match(made.lead, /^[0-9a-f-]{36}$/);
  const changed = await leads.updateLead({ id: made.lead, UpdateLeadRequest: { value: null, organization_id: made.org } });
  assert.equal(changed.data.value, null);
  assert.equal((await leads.getLead({ id: made.lead })).data.organization_id, made.org);
  assert.equal((await leads.getLeads({ person_id: made.person })).data[0].id, made.lead);
  await leads.updateLead({ id: made.lead, UpdateLeadRequest: { is_archived: true } });
  assert.ok((await leads.getArchivedLeads({ person_id: made.person })).data.some((l) => l.id === made.lead));
  await refused(leads.updateLead({ id: made.lead, UpdateLeadRequest: { title: "X" } }));
  await leads.updateLead({ id: made.lead, UpdateLeadRequest: { is_archived: false } });
  await refused(leads.addLead({ AddLeadRequest: { title: "nobody" } }));
});

await check("notes", async () => {
  const notes = api1("Notes");
  const created = await notes.addNote({ AddNoteRequest: { content: `<p>Note ${stamp}</p>`, deal_id: made.deal, pinned_to_deal_flag: 1 } });
  assert.equal(created.data.pinned_to_deal_flag, true);
  assert.equal(created.data.deal.title, `Deal ${stamp}`);
  const changed = await notes.updateNote({ id: created.data.id, NoteRequest: { content: "<b>changed</b>" } });
  assert.equal(changed.data.content, "<b>changed</b>");
  const listed = await notes.getNotes({ deal_id: made.deal });
  assert.equal(listed.data[0].id, created.data.id);
  assert.equal(listed.additional_data.pagination.more_items_in_collection, false);
  assert.equal((await notes.deleteNote({ id: created.data.id })).data, true);
  assert.equal((await notes.getNote({ id: created.data.id })).data.active_flag, false);
});

await check("search", async () => {
  const email = `jane.${stamp}@example.org`;
  const found = await eventually(
    () => api2("Persons").searchPersons({ term: email.toUpperCase(), fields: "email", exact_match: true }),
    (answer) => answer.data.items.length > 0,
  );
  assert.equal(found.data.items[0].item.id, made.person);
  assert.ok(found.data.items[0].item.emails.includes(email), "plain texts");
  const org = await api2("Organizations").searchOrganization({ term: `Org ${stamp}`, fields: "name", exact_match: true });
  assert.equal(org.data.items[0].item.id, made.org);
  const deal = await eventually(
    () => api2("Deals").searchDeals({ term: stamp, fields: "title", person_id: made.person }),
    (answer) => answer.data.items.length > 0,
  );
  assert.equal(deal.data.items[0].item.id, made.deal);
  const lead = await eventually(
    () => api2("Leads").searchLeads({ term: `Lead ${stamp}`, fields: "title" }),
    (answer) => answer.data.items.length > 0,
  );
  assert.equal(lead.data.items[0].item.id, made.lead);
  const all = await api2("ItemSearch").searchItem({ term: stamp, item_types: "person,deal", limit: 50 });
  assert.ok(all.data.items.some((i) => i.item.type === "person") && all.data.items.some((i) => i.item.type === "deal"));
  const exact = await api2("ItemSearch").searchItemByField({ term: `Org ${stamp}`, entity_type: "organization", field: "name" });
  assert.deepEqual(exact.data, [{ id: made.org, name: `Org ${stamp}` }]);
  await refused(api2("Persons").searchPersons({ term: "x" }), "ERR_SCHEMA_VALIDATION_FAILED");
});

await check("conversion of a lead to a deal and back", async () => {
  const started = await api2("Leads").convertLeadToDeal({ id: made.lead, ConvertLeadToDealRequest: { stage_id: made.stage } });
  const ask = () => api2("Leads").getLeadConversionStatus({ id: made.lead, conversion_id: started.data.conversion_id });
  const ended = await eventually(ask, (answer) => answer.data.status === "completed");
  const deal = await api2("Deals").getDeal({ id: ended.data.deal_id, include_fields: "source_lead_id" });
  assert.equal(deal.data.title, `Lead ${stamp}`);
  assert.equal(deal.data.source_lead_id, made.lead);
  await refused(api1("Leads").getLead({ id: made.lead }));
  const back = await api2("Deals").convertDealToLead({ id: ended.data.deal_id });
  const status = () => api2("Deals").getDealConversionStatus({ id: ended.data.deal_id, conversion_id: back.data.conversion_id });
  const lead = await eventually(status, (answer) => answer.data.status === "completed");
  await api1("Leads").deleteLead({ id: lead.data.lead_id });
});

await check("merges", async () => {
  const other = await api2("Persons").addPerson({ AddPersonRequest: { name: `Twin ${stamp}`, emails: [{ value: `twin.${stamp}@example.org` }] } });
  const merged = await api1("Persons").mergePersons({ id: other.data.id, MergePersonsRequest: { merge_with_id: made.person } });
  assert.equal(merged.data.id, made.person);
  assert.equal((await api2("Persons").getPerson({ id: made.person })).data.emails.length, 3);
  const org = await api2("Organizations").addOrganization({ AddOrganizationRequest: { name: `Twin ${stamp}` } });
  await api1("Organizations").mergeOrganizations({ id: org.data.id, MergeOrganizationsRequest: { merge_with_id: made.org } });
  const deal = await api2("Deals").addDeal({ AddDealRequest: { title: `Twin ${stamp}` } });
  await api1("Deals").mergeDeals({ id: deal.data.id, MergeDealsRequest: { merge_with_id: made.deal } });
  assert.deepEqual((await api2("Deals").getDeals({ ids: String(deal.data.id) })).data, []);
});

await check("webhooks", async () => {
  const webhooks = api1("Webhooks");
  const created = await webhooks.addWebhook({
    AddWebhookRequest: { subscription_url: "https://hooks.example.org/x", event_action: "*", event_object: "person", name: `W ${stamp}` },
  });
  assert.ok((await webhooks.getWebhooks()).data.some((w) => w.id === created.data.id));
  await webhooks.deleteWebhook({ id: created.data.id });
});

await check("deletions", async () => {
  await api2("Deals").deleteDeal({ id: made.deal });
  await api2("Persons").deletePerson({ id: made.person });
  await api2("Organizations").deleteOrganization({ id: made.org });
  await api1("LeadLabels").deleteLeadLabel({ id: made.label });
  assert.deepEqual((await api2("Persons").getPersons({ ids: String(made.person) })).data, []);
  await refused(api2("Persons").getPerson({ id: 987654 }));
});

await check("a wrong token", async () => {
  const stranger = new v2.Configuration({ apiKey: "wrong", basePath: `${base}/api/v2` });
  const body = await refused(new v2.PersonsApi(stranger).getPersons());
  assert.equal(body.errorCode, 401);
});

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
