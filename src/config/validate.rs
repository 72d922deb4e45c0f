//! What the types alone cannot say: names, references between sections, ranges.

mod fields;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use super::{AccountConfig, Config, MAX_BATCH_EVENTS, Places, RuleConfig, SecretRef, SourceConfig, Span, WebhooksConfig};
use crate::diagnostic::{Code, Diagnostic, did_you_mean};

/// Something that is not right, and the path it stands at.
pub(super) struct Finding {
    path: Vec<String>,
    diagnostic: Diagnostic,
}

impl Finding {
    /// Whether it may be a consequence of an entry that could not be read: it is about that entry, or about its whole section.
    pub(super) fn rests_on(&self, broken: &[String]) -> bool {
        broken.starts_with(&self.path) || self.path.starts_with(broken) || self.shifted_by(broken)
    }

    /// Whether it is about a list that an item was taken out of: those behind it have other places now. Rules keep theirs.
    fn shifted_by(&self, broken: &[String]) -> bool {
        let Some((item, list)) = broken.split_last() else { return false };
        item.parse::<usize>().is_ok() && self.path.starts_with(list) && list != ["rules"]
    }

    /// With its place.
    pub(super) fn place(self, places: &Places) -> Diagnostic {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        places.at(self.diagnostic, &path)
    }
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, path: &[&str], diagnostic: Diagnostic) {
        let diagnostic = diagnostic.or_code(Code::Unfit);
        self.0.push(Finding { path: path.iter().map(|p| (*p).to_owned()).collect(), diagnostic });
    }

    fn error(&mut self, path: &[&str], message: impl Into<String>) {
        self.add(path, Diagnostic::error(message));
    }

    fn range<T: PartialOrd + Display>(&mut self, path: &[&str], value: T, least: T, most: T) {
        self.add_all(path, out_of_range(path, value, (least, most)));
    }

    /// A range whose upper end needs a reason.
    fn range_because<T: PartialOrd + Display + Copy>(&mut self, path: &[&str], value: T, range: (T, T), why: &str) {
        let wrong = out_of_range(path, value, range);
        self.add_all(path, wrong.map(|wrong| if value > range.1 { wrong.help(why) } else { wrong }));
    }

    fn add_all(&mut self, path: &[&str], diagnostics: impl IntoIterator<Item = Diagnostic>) {
        for diagnostic in diagnostics {
            self.add(path, diagnostic);
        }
    }
}

fn out_of_range<T: PartialOrd + Display>(path: &[&str], value: T, (least, most): (T, T)) -> Option<Diagnostic> {
    let message = || format!("`{}` is {value}; it must be from {least} to {most}", path.join("."));
    (value < least || value > most).then(|| Diagnostic::error(message()))
}

/// Checks a configuration. `rules` gives the place in the file of each of its rules.
pub(super) fn validate(config: &Config, rules: &[usize]) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    server(config, &mut findings);
    limits(config, &mut findings);
    for (name, source) in &config.sources {
        self::source(name, source, &mut findings);
    }
    shared_keys(config, &mut findings);
    if config.sources.is_empty() {
        let warning = Diagnostic::warning("no source is configured: no event can come in").code(Code::Idle);
        findings.add(&[], warning.help("add a section [sources.website] with write_keys = [\"env:PIPEWRIGHT_WRITE_KEY\"]"));
    }
    for (name, account) in &config.pipedrive {
        self::account(name, account, &mut findings);
    }
    let mut names = BTreeMap::new();
    for (rule, place) in config.rules.iter().zip(rules) {
        self::rule(config, rule, *place, &mut findings);
        if let Some(first) = names.insert(rule.name.as_str(), *place) {
            let message = format!("two rules are named `{}`: a delivery is named by its event and its rule", rule.name);
            findings.add(&["rules", &place.max(&first).to_string(), "name"], Diagnostic::error(message).code(Code::Twice));
        }
    }
    if config.rules.is_empty() {
        let warning = Diagnostic::warning("no rule is configured: events are counted and nothing is done with them");
        findings.add(&[], warning.code(Code::Idle));
    }
    findings.0
}

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

fn server(config: &Config, findings: &mut Findings) {
    let server = &config.server;
    findings.range(&["server", "max_event"], server.max_event.get(), 1024, 16 << 20);
    findings.range(&["server", "max_batch"], server.max_batch.get(), 1024, 256 << 20);
    if server.max_batch < server.max_event {
        findings
            .error(&["server", "max_batch"], "`server.max_batch` is smaller than `server.max_event`: a batch of one must fit");
    }
    findings.range_because(
        &["server", "max_batch_events"],
        server.max_batch_events,
        (1, MAX_BATCH_EVENTS),
        "a batch is stored whole or not at all, in one transaction for which all others wait; let the source send smaller batches",
    );
    findings.range(&["server", "max_backlog"], server.max_backlog, 1, 100_000_000);
    findings.range(&["server", "max_connections"], server.max_connections, 1, 1_000_000);
    findings.range(&["server", "header_timeout"], server.header_timeout, Span::millis(10), Span::secs(10 * MINUTE));
    findings.range(&["server", "body_timeout"], server.body_timeout, Span::millis(10), Span::secs(10 * MINUTE));
    findings.range(&["server", "dedupe_window"], server.dedupe_window, Span::secs(0), Span::secs(30 * DAY));
    findings.range(&["server", "shutdown_grace"], server.shutdown_grace, Span::secs(0), Span::secs(10 * MINUTE));
    if server.data_dir.as_os_str().is_empty() {
        findings.error(&["server", "data_dir"], "`server.data_dir` is empty; name a folder");
    }
    for (i, origin) in server.cors_origins.iter().enumerate() {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if origin != "*" && !host.is_some_and(|h| !h.is_empty() && !h.contains(['/', '?', '#', ' '])) {
            let message = format!("`{origin}` is no origin");
            let d = Diagnostic::error(message)
                .help("write scheme and host, such as \"https://www.acme.com\", without a path; or \"*\"");
            findings.add(&["server", "cors_origins", &i.to_string()], d);
        }
    }
    let admin = &config.admin;
    if admin.listen == server.listen && server.listen.port() != 0 {
        findings.error(&["admin", "listen"], "`admin.listen` is the same address as `server.listen`; give them different ports");
    }
    if !admin.listen.ip().is_loopback() && admin.token.is_none() {
        let d = Diagnostic::error(format!(
            "`admin.listen` is {}, which others can reach, and there is no `admin.token`",
            admin.listen
        ));
        findings.add(
            &["admin", "listen"],
            d.code(Code::Missing).help("add token = \"env:PIPEWRIGHT_ADMIN_TOKEN\", or listen on 127.0.0.1"),
        );
    }
}

fn limits(config: &Config, findings: &mut Findings) {
    let delivery = &config.delivery;
    findings.range(&["delivery", "concurrency"], delivery.concurrency, 1, 4096);
    findings.range(&["delivery", "max_attempts"], delivery.max_attempts, 1, 10_000);
    findings.range(&["delivery", "max_retry_time"], delivery.max_retry_time, Span::secs(1), Span::secs(90 * DAY));
    findings.range(&["delivery", "retry_first"], delivery.retry_first, Span::millis(1), Span::secs(3600));
    findings.range(&["delivery", "retry_max"], delivery.retry_max, Span::millis(1), Span::secs(DAY));
    if delivery.retry_max < delivery.retry_first {
        findings.error(&["delivery", "retry_max"], "`delivery.retry_max` is shorter than `delivery.retry_first`");
    }
    findings.range(&["delivery", "pause_after_lanes"], delivery.pause_after_lanes, 1, 10_000);
    findings.range(&["retention", "max_bytes"], config.retention.max_bytes.get(), 16 << 20, 1 << 50);
    findings.range(&["retention", "versions"], config.retention.versions, 2, 10_000);
    let scripts = &config.scripts;
    findings.range(&["scripts", "threads"], scripts.threads, 1, 256);
    findings.range(&["scripts", "max_operations"], scripts.max_operations, 1_000, 1_000_000_000);
    findings.range(&["scripts", "deadline"], scripts.deadline, Span::millis(1), Span::secs(MINUTE));
    findings.range(&["scripts", "max_string"], scripts.max_string, 1024, 64 << 20);
    findings.range(&["scripts", "max_array"], scripts.max_array, 16, 10_000_000);
    findings.range(&["scripts", "max_map"], scripts.max_map, 16, 10_000_000);
    findings.range(&["scripts", "max_actions"], scripts.max_actions, 1, 10_000);
    findings.range(&["scripts", "max_reads"], scripts.max_reads, 0, 10_000);
    findings.range(&["reload", "poll"], config.reload.poll, Span::millis(50), Span::secs(DAY));
}

fn name(path: &[&str], what: &str, name: &str, findings: &mut Findings) {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        findings.error(path, format!("`{name}` cannot name a {what}: use 1 to 64 letters, digits, `_`, `-` and `.`"));
    }
}

fn source(name: &str, source: &SourceConfig, findings: &mut Findings) {
    self::name(&["sources", name], "source", name, findings);
    if source.write_keys.is_empty() && source.webhook_secret.is_none() {
        let d = Diagnostic::error(format!("source `{name}` has no key: nothing could be sent to it")).code(Code::Missing);
        findings.add(
            &["sources", name],
            d.help("add write_keys = [\"env:NAME\"] for Segment's libraries, or webhook_secret = \"env:NAME\""),
        );
    }
    if source.webhook_token.is_some() && source.webhook_secret.is_none() {
        let d = Diagnostic::error("`webhook_token` is the second proof of webhooks; set `webhook_secret` too");
        findings.add(&["sources", name, "webhook_token"], d.code(Code::Missing));
    }
    findings.range(&["sources", name, "keep_unmatched"], source.keep_unmatched, Span::secs(0), Span::secs(365 * DAY));
}

/// A write key names one source.
fn shared_keys(config: &Config, findings: &mut Findings) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, source) in &config.sources {
        for (i, key) in source.write_keys.iter().enumerate() {
            let reference = match key {
                SecretRef::Env(variable) => format!("env:{variable}"),
                SecretRef::File(path) => format!("file:{}", path.display()),
            };
            if let Some(other) = seen.insert(reference.clone(), name) {
                let message =
                    format!("{reference} is also a write key of source `{other}`: a key must tell where an event is from");
                findings.add(&["sources", name, "write_keys", &i.to_string()], Diagnostic::error(message).code(Code::Twice));
            }
        }
    }
}

fn account(name: &str, account: &AccountConfig, findings: &mut Findings) {
    self::name(&["pipedrive", name], "Pipedrive account", name, findings);
    match (&account.domain, &account.base_url) {
        (None, None) => {
            let d = Diagnostic::error(format!("account `{name}` has neither `domain` nor `base_url`")).code(Code::Missing);
            findings.add(&["pipedrive", name], d.help("add domain = \"acme\" for https://acme.pipedrive.com"));
        }
        (Some(_), Some(_)) => {
            findings.error(&["pipedrive", name, "base_url"], "`base_url` takes the place of `domain`: leave one of them out");
        }
        (Some(domain), None) => self::domain(name, domain, findings),
        (None, Some(url)) => base_url(name, url, findings),
    }
    if account.api_token.is_none() {
        let d = Diagnostic::error(format!("account `{name}` has no `api_token`")).code(Code::Missing);
        findings.add(&["pipedrive", name], d.help("add api_token = \"env:PIPEDRIVE_API_TOKEN\" and set that variable"));
    }
    for (kind, field) in account.match_fields.by_kind() {
        if field.trim().is_empty() {
            let path = ["pipedrive", name, "match_fields", kind];
            findings.error(&path, "a match field is a field's name, its 40-character key, or `id`");
        }
    }
    fields::fields(name, &account.fields, findings);
    findings.range(&["pipedrive", name, "timeout"], account.timeout, Span::millis(100), Span::secs(10 * MINUTE));
    findings.range(&["pipedrive", name, "concurrency"], account.concurrency, 1, 256);
    findings.range(&["pipedrive", name, "metadata_ttl"], account.metadata_ttl, Span::secs(1), Span::secs(30 * DAY));
    if let Some(budget) = &account.budget {
        let path = ["pipedrive", name, "budget", "tokens_per_day"];
        findings.range(&path, budget.tokens_per_day, 100, 1_000_000_000);
        if budget.tokens_per_day > 0 && budget.ordinary() == 0 {
            let path = ["pipedrive", name, "budget", "reserve"];
            let d = Diagnostic::error("the whole budget is kept in reserve: no new delivery could begin");
            findings.add(&path, d.help("write a smaller part, such as \"10%\""));
        }
    }
    if let Some(webhooks) = &account.webhooks {
        self::webhooks(name, webhooks, findings);
    }
}

fn webhooks(name: &str, webhooks: &WebhooksConfig, findings: &mut Findings) {
    let path = |key| ["pipedrive", name, "webhooks", key];
    match scheme_and_host(&webhooks.url) {
        Some((https, host)) => {
            if !https && !is_local(&host) {
                let d = Diagnostic::error(format!("`{}` is plain http: Pipedrive sends to https only", webhooks.url));
                findings.add(
                    &path("url"),
                    d.help("let a proxy with a certificate stand before server.listen, and write its https address"),
                );
            } else if webhooks.url.trim_end_matches('/').ends_with(&format!("/pipedrive/{name}")) {
                let d = Diagnostic::error(format!("`/pipedrive/{name}` is added to the URL by itself"));
                findings.add(&path("url"), d.help("leave it out"));
            }
        }
        None => {
            let d = Diagnostic::error(format!("`{}` is no base URL", without_user(&webhooks.url)));
            let help = "write the address at which Pipedrive reaches server.listen, such as \"https://events.acme.com\", without user, query and fragment";
            findings.add(&path("url"), d.help(help));
        }
    }
    if webhooks.user.is_empty() || webhooks.user.contains(':') {
        findings.error(&path("user"), "the user name of Basic authorization is not empty and has no colon");
    }
    findings.range(&path("check_every"), webhooks.check_every, Span::secs(10 * MINUTE), Span::secs(3 * DAY));
}

/// A URL as it may be shown.
fn without_user(url: &str) -> String {
    match (url.split_once("//"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}//..@{rest}"),
        _ => url.to_owned(),
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn domain(name: &str, domain: &str, findings: &mut Findings) {
    let fits = |d: &str| !d.is_empty() && d.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !fits(domain) {
        let bare = domain.trim().trim_start_matches("https://").trim_end_matches('/').trim_end_matches(".pipedrive.com");
        let d = Diagnostic::error(format!("`{domain}` is no Pipedrive domain: it is the `acme` of https://acme.pipedrive.com"));
        findings.add(&["pipedrive", name, "domain"], if fits(bare) { d.help(format!("did you mean `{bare}`?")) } else { d });
    }
}

fn base_url(name: &str, url: &str, findings: &mut Findings) {
    let path = ["pipedrive", name, "base_url"];
    match scheme_and_host(url) {
        Some((true, _)) => {}
        Some((false, host)) => {
            if !is_local(&host) {
                let d = Diagnostic::warning("the API token goes over plain http to another machine").help("use https");
                findings.add(&path, d.code(Code::PlainHttp));
            }
        }
        None => {
            let d = Diagnostic::error(format!("`{}` is no base URL", without_user(url)));
            findings.add(&path, d.help("write scheme and host, such as \"http://127.0.0.1:9000\", without query"));
        }
    }
}

/// Whether a URL is https, and its host; none when it cannot be a base.
fn scheme_and_host(url: &str) -> Option<(bool, String)> {
    let uri: http::Uri = url.parse().ok().filter(|_| !url.contains('#'))?;
    // One that is none of 16 bits is part of no address.
    uri.authority()
        .filter(|authority| !authority.as_str().contains(':') || uri.port_u16().is_some() || authority.as_str().ends_with(']'))?;
    let https = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = uri.host().filter(|h| !h.is_empty())?.to_owned();
    (uri.query().is_none() && !uri.authority()?.as_str().contains('@')).then_some((https, host))
}

fn rule(config: &Config, rule: &RuleConfig, place: usize, findings: &mut Findings) {
    let place = place.to_string();
    self::name(&["rules", &place, "name"], "rule", &rule.name, findings);
    let mut add = |key: &str, d: Diagnostic| findings.add(&["rules", &place, key], d);
    let shown = &rule.name;
    let accounts = || config.pipedrive.keys().map(String::as_str);
    match &rule.account {
        Some(account) if !config.pipedrive.contains_key(account) => {
            let d =
                Diagnostic::error(format!("rule `{shown}` names the account `{account}`, and there is no [pipedrive.{account}]"));
            add("account", suggest(d.code(Code::NoSuch), account, accounts()));
        }
        None if config.pipedrive.len() > 1 => {
            let d = Diagnostic::error(format!(
                "rule `{shown}` does not say which of the {} accounts it writes to",
                config.pipedrive.len()
            ));
            let known = accounts().collect::<Vec<_>>().join("\", \"");
            add("account", d.code(Code::Missing).help(format!("add account = one of \"{known}\"")));
        }
        None if config.pipedrive.is_empty() => {
            let d = Diagnostic::error(format!("rule `{shown}` has no account to write to")).code(Code::Missing);
            add("account", d.help("add a section [pipedrive.main] with domain and api_token"));
        }
        _ => {}
    }
    for source in &rule.sources {
        if !config.sources.contains_key(source) {
            let d =
                Diagnostic::error(format!("rule `{shown}` listens to the source `{source}`, and there is no [sources.{source}]"));
            add("sources", suggest(d.code(Code::NoSuch), source, config.sources.keys().map(String::as_str)));
        }
    }
    if rule.priority > 9 {
        add("priority", Diagnostic::error(format!("`priority` is {}; it must be from 0 to 9", rule.priority)));
    }
    for (key, script) in rule.scripts() {
        if !script.ends_with(".rhai")
            || script.starts_with('/')
            || script.contains('\\')
            || script.split('/').any(|p| matches!(p, "" | "." | ".."))
        {
            let d = Diagnostic::error(format!("`{script}` is no script: name a file below scripts/ that ends in .rhai"));
            add(key, if script.contains(['/', '\\', '.']) { d } else { d.help(format!("did you mean `{script}.rhai`?")) });
        } else if script.starts_with("tests/") {
            add(key, Diagnostic::error("a rule cannot run a test: scripts/tests/ is left out of the set"));
        }
    }
    if rule.shadow.as_deref() == Some(rule.script.as_str()) {
        add("shadow", Diagnostic::error("`shadow` is the rule's own script: there is nothing to compare"));
    }
    if rule.order_by.is_empty() || rule.order_by.split('.').any(|key| key.trim().is_empty()) {
        add("order_by", Diagnostic::error("`order_by` is a path in the event, such as userId or properties.deal_id"));
    }
    if rule.max_creates_per_hour == Some(0) {
        let d = Diagnostic::error("`max_creates_per_hour` is 0: the rule would pause at its first create");
        add("max_creates_per_hour", d.help("leave it out for no limit"));
    }
    if rule.max_event_age.is_some_and(|age| age.get() == Duration::ZERO) {
        add(
            "max_event_age",
            Diagnostic::error("`max_event_age` is 0: every event would be too old").help("leave it out for no limit"),
        );
    }
    if rule.link_wait > Span::secs(30 * DAY) {
        add("link_wait", Diagnostic::error(format!("`link_wait` is {}; at most 30days", rule.link_wait)));
    }
    if rule.reread_after > Span::secs(DAY) {
        let d = Diagnostic::error(format!("`reread_after` is {}; at most 1day", rule.reread_after));
        add("reread_after", d.help("what people add to a list in Pipedrive within this time would be overwritten"));
    }
}

fn suggest<'a>(diagnostic: Diagnostic, name: &str, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    match did_you_mean(name, known) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}
