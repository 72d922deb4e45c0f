//! What no daemon may say, whatever a test does with it: secrets of tests, and personal data of the events that they send.
//!
//! Invariant: what is looked for stands in tests' events and secrets only, never in a name of our own.

/// Secrets of tests have this in them.
pub(crate) const SECRET: &str = "s3cret";

/// Personal data of tests has this in it, or is an e-mail address.
pub(crate) const PERSONAL: &str = "pers0nal";

/// Digits of a telephone number that tests' events have.
pub(crate) const PHONE: &str = "5550177007";

/// Others that tests use: tokens, a write key as Basic authorization carries it (`s3cret`, `mock:`), a name.
const MORE: [&str; 4] = ["t0ken", "czNjcmV0", "bW9jazo", "Ada King"];

/// What it gives away: the first of these in it, with its line.
pub(crate) fn told(said: &str) -> Option<String> {
    said.lines().find_map(|line| {
        let small = line.to_lowercase();
        let marked = [SECRET, PERSONAL, PHONE].into_iter().find(|marker| small.contains(marker));
        let other = || MORE.into_iter().find(|other| line.contains(other));
        let mail = || has_address(line).then_some("an e-mail address");
        let what = marked.or_else(other).or_else(mail)?;
        Some(format!("{what}: {line}"))
    })
}

/// Fails the test that made a daemon say such a thing. A test that fails anyhow goes on failing for its own reason.
pub(crate) fn nothing_told(said: &str) {
    if !std::thread::panicking()
        && let Some(told) = told(said)
    {
        panic!("secrets and personal data stay out of logs, and this has {told}");
    }
}

/// Something like `zoe@king.example`, as it stands or as URLs have it.
fn has_address(line: &str) -> bool {
    let line = line.replace("%40", "@");
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    line.match_indices('@').any(|(at, _)| {
        let host: String = line[at + 1..].chars().take_while(|c| word(*c)).collect();
        line[..at].ends_with(word) && host.trim_matches('.').contains('.')
    })
}

#[test]
fn what_gives_something_away_is_found_and_nothing_else() {
    for leak in [
        "WARN to=zoe@king.example refused",
        "GET /find?term=zoe%40king.example",
        "x-api-token: s3cret-1",
        "Authorization: Basic czNjcmV0LWtleTo=",
        "user=PERS0NAL",
        "tel:+15550177007",
    ] {
        assert!(told(&format!("INFO ready\n{leak}\n")).is_some(), "{leak}");
    }
    for fine in
        ["INFO ready rules=6", "2026-01-02T03:04:05Z  INFO pipewright: person@ main", "a secret lies open", "@king.example"]
    {
        assert_eq!(told(fine), None);
    }
}
