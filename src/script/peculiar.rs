//! What is peculiar to each kind: a section of the page on scripting.

/// Headings are of the third level: the section stands under one of the second.
pub(super) const PECULIAR: &str = r#"
### Deals

`stage` and `pipeline` go by name or id; a stage name that several pipelines have needs `pipeline` beside it. `stage` puts the deal
there. `stage_at_least` only moves it forward, within the pipeline that it is in: a deal that is further on, in another pipeline, or won
or lost stays where it is, and the decision record says so. Beside it `pipeline` says which stage is meant and moves nothing.

```rhai
deal::upsert(
    #{ "Segment Deal ID": "d-17" },
    #{ stage_at_least: "Proposal", pipeline: "Sales", value: money(1200, "EUR") },
    #{ on_create: #{ title: "20 seats" }, unlinked: true });
```

`title` is needed by new deals only; give a fallback under `on_create`. **A deal is reopened by `status: "open"` and by nothing else**:
not by an update without a status, by a stage, or by a match that finds a closed deal. Where several deals fit a match, open ones go before
closed ones. `lost_reason` goes with `status: "lost"`, or alone to a deal that is lost already; with another status it is an error.

Products of a deal go by raw requests, from a rule of their own that waits until the deal is there:

```rhai
fn handle(event) {
    let deal = deal::find(#{ "Segment Deal ID": event.properties?.deal_id });
    if deal == () { retry("the deal is not there yet", 5); }
    for item in event.properties?.products ?? [] {
        pipedrive::request("POST", `/api/v2/deals/${deal.id}/products`,
            #{ product_id: item.product_id, item_price: item.price, quantity: item.quantity });
    }
}
```

### Leads

A lead is matched by its Pipedrive `id`, by a custom field (leads have those of deals), or as a lead of a person or organization whose
id was read before. Archived leads are not among a person's; where several are open, `on_many` decides.

```rhai
let p = event.properties;
let who = person::find(#{ "Segment User ID": event.userId });
lead::upsert(
    [#{ id: p?.lead_id }, #{ "Segment Deal ID": p?.deal_id }, #{ person_id: who?.id }],
    #{ value: money(p?.amount, "EUR") },
    #{ on_create: #{ title: p?.title ?? "A lead", person_id: by(event.userId) } });
```

**A lead that was converted is its deal**, whether `lead::convert` or somebody in Pipedrive did it. An update by its id, by a key or by a
reference goes to the deal, and so do notes and activities that give it as `lead_id`; the decision record says `lead L was converted to
deal D`. The value becomes value and currency, labels go by name, custom fields are the same; what deals do not have is left out, with a
warning. People's edits of the deal stand as those of the lead did. `lead::delete` leaves the deal alone, and `lead::find` and `lead::get`
answer `()`: read the deal. Limits:

- A conversion in Pipedrive is noticed when the lead answers that it is gone. Its deal is then looked for among those of its person or
  organization (10 tokens each; deals in the archive are not among them), else by the key that the lead is matched by (20 tokens): so it is
  found also when people gave it to somebody else or merged it into another one that has the key. Where an event tells of a lead by its id
  alone, and no rule has written it with `person_id` or `org_id` before, the deal cannot be found, and the lead counts as gone: give
  `person_id` under `if_empty`.
- A lead is known by a key once a rule has found or made it by that. One that people made and converted before any event came counts as
  new: where keys are given by hand, match the deal first (`deal::find`).
- A match by person or organization alone finds open leads only. What was one is not found by it.

### The archive

Pipedrive lets nothing be changed in an archived deal or lead. An update that finds one fails and changes nothing; `on_archived: "skip"`
leaves it alone, and `"unarchive"` takes it out of the archive and then updates it.

```rhai
lead::update(#{ title: "Acme: 20 seats" }, #{ value: money(900, "EUR") }, #{ on_archived: "unarchive" });
```

### Activities

Types go by key or name. `person_id` becomes the first of the `participants`; further ones are given beside it.

Pipedrive keeps `due_date` and `due_time` in UTC. A time without a zone is taken as it stands. One with a zone is converted with its day:
a whole time in `due_time`, a time with an offset beside a `due_date`, or local ones with `timezone` (an IANA name) beside them. A whole
time in `due_date` alone gives its day as it stands, and no time of day.

```rhai
activity::create(#{ subject: "Call", due_time: "2026-12-01T00:30:00+02:00" }, #{ unlinked: true });   // 2026-11-30, 22:30
activity::create(
    #{ subject: "Call", due_date: "2026-12-01", due_time: "10:30", timezone: event.context?.timezone ?? "Europe/Tallinn" },
    #{ unlinked: true });
```

### Notes

`content` is escaped for HTML and keeps its line breaks; `html: true` beside it sends it as it is. A note is pinned with
`pinned_to_person_flag`, `pinned_to_organization_flag`, `pinned_to_deal_flag` or `pinned_to_lead_flag`. A pin to what a new note does not
link to is left out, with a warning.

```rhai
note::create(#{ content: "Asked for a demo", person_id: by(event.userId), pinned_to_person_flag: true });
```

### Organizations of deals, activities and notes

The shipped scripts link them to the event's group, and without one to the organization that the person is at in Pipedrive
(`scripts/lib/company.rhai`):

```rhai
let org = if event.context?.groupId != () {
    by(event.context.groupId)
} else {
    person::find(#{ "Segment User ID": event.userId })?.org_id
};
deal::create(#{ title: "Renewal", person_id: by(event.userId), org_id: org });
```
"#;
