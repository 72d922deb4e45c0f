//! A shadow script, from `rules.toml` to `pipewright shadow`.

use serde_json::{Value, json};

use super::harness::{Daemon, Folder};
use crate::support::wait_until;

const NAME: &str = "                name: person_name(t),";

#[tokio::test]
async fn what_a_new_script_would_do_is_seen_on_live_traffic_before_it_goes_live() {
    let folder = Folder::init().await;
    let none = folder.run(&["shadow", "--help"]).await.ok();
    assert!(none.contains("shadow = \"next/person.rhai\""), "{none}");
    folder.write(
        "scripts/next/person.rhai",
        &folder.read("scripts/person.rhai").replace(NAME, "                name: `VIP ${person_name(t)}`,"),
    );
    let rule = "when = 'type = \"identify\"'\nscript = \"person.rhai\"";
    folder.edit("rules.toml", rule, &format!("{rule}\nshadow = \"next/persn.rhai\""));
    let checked = folder.run(&["check"]).await;
    assert_eq!(checked.code, Some(2), "{checked:?}");
    for part in ["rule `person` has the shadow scripts/next/persn.rhai", "did you mean `next/person.rhai`?"] {
        assert!(checked.err.contains(part), "no {part:?} in:\n{}", checked.err);
    }
    folder.edit("rules.toml", "next/persn.rhai", "next/person.rhai");
    folder.run(&["check"]).await.ok();

    let daemon = Daemon::mocked(&folder).await;
    let event = json!({ "userId": "ada", "traits": { "name": "Ada", "email": "ada@e2e.example" } });
    daemon.accept("/v1/identify", &event).await;
    daemon.done("ada", 1).await;
    assert_eq!(daemon.account().person("ada").await["name"], "Ada");
    let list = wait_until("the shadow has run", || async {
        let list = folder.json(&["shadow"]).await;
        (list["rules"][0]["different"] == 1).then_some(list)
    })
    .await;
    let newest = &list["rules"][0]["newest"][0];
    assert_eq!((&newest["id"], &newest["verdict"]), (&json!("1/person"), &json!("different")), "{list:#}");
    let shown = folder.run(&["shadow", "--rule", "person"]).await.ok();
    for part in ["next/person.rhai", "1/person", "plan -> plan", "name: \"Ada\" -> \"VIP Ada\""] {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
    let other = folder.run(&["shadow", "--rule", "deal"]).await;
    assert!(other.code == Some(1) && other.err.contains("rule `deal` has no shadow"), "{other:?}");
    let unknown = folder.run(&["shadow", "--rule", "persn"]).await;
    assert!(unknown.code == Some(1) && unknown.err.contains("there is no rule `persn`"), "{unknown:?}");

    // What is kept of a user goes with the user.
    folder.run(&["forget", "ada", "--yes"]).await.ok();
    assert_eq!(folder.json(&["shadow"]).await["rules"][0]["newest"], Value::Array(Vec::new()));
}
