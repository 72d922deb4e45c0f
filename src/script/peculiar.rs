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
"#;
