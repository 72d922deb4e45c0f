//! `rules.toml`, right and wrong.

use super::*;

const BASE: &str = "[sources.website]\nwrite_keys = [\"env:KEY\"]\n\n[pipedrive.main]\ndomain = \"acme\"\napi_token = \"env:TOKEN\"\n\n\
                    [[rules]]\nname = \"person\"\nwhen = 'type = \"identify\"'\nscript = \"person.rhai\"\n";

fn problems(text: &str) -> Vec<Diagnostic> {
    Config::parse("rules.toml", text).expect_err("it is wrong")
}

/// `line:column message | help` of each problem.
fn lines(text: &str) -> Vec<String> {
    let line = |d: &Diagnostic| {
        let place = d.place.as_ref().map_or_else(String::new, |p| format!("{}:{}", p.line, p.column));
        format!("{place} {} | {}", d.message, d.help.as_deref().unwrap_or(""))
    };
    problems(text).iter().map(line).collect()
}

#[test]
fn a_small_file_is_read_with_defaults() {
    let (config, warnings) = Config::parse("rules.toml", BASE).expect("valid");
    assert_eq!(warnings, []);
    assert_eq!(config.server, ServerConfig::default());
    assert_eq!(config.rules.len(), 1);
    assert_eq!(config.rules[0].order_by, "userId");
    assert_eq!(config.pipedrive["main"].match_fields, MatchFields::default());
}

#[test]
fn an_unknown_key_is_refused_with_a_suggestion_and_its_place() {
    let found = lines(&format!("[server]\nlissten = \"127.0.0.1:1\"\n{BASE}"));
    assert_eq!(found, ["2:1 unknown key `lissten` in `server` | did you mean `listen`?"]);
    let found = lines(&BASE.replace("domain", "match_fields = { persn = \"x\" }\ndomain"));
    assert_eq!(found, ["5:18 unknown key `persn` in `pipedrive.main.match_fields` | did you mean `person`?"]);
    let text = format!("[srever]\nlisten = \"plain\"\n{BASE}");
    assert_eq!(lines(&text), ["1:2 unknown key `srever` in rules.toml | did you mean `server`?"]);
    assert!(problems(&text)[0].render().contains("1 | [srever]"), "a header is no secret");
}

#[test]
fn what_a_changed_set_must_pass_is_a_list_of_known_words() {
    let with = |words: &str| format!("[reload]\nrequire = {words}\n{BASE}");
    assert_eq!(Config::default().reload.require, [Requirement::Check, Requirement::Tests]);
    let (config, _) = Config::parse("rules.toml", &with("[]")).expect("valid");
    assert_eq!((config.reload.require.as_slice(), config.reload.least_coverage()), ([].as_slice(), None));
    let (config, _) = Config::parse("rules.toml", &with("[\"coverage>=0\", \"coverage>=80\", \"tests\"]")).expect("valid");
    assert_eq!(config.reload.require, [Requirement::Coverage(0), Requirement::Coverage(80), Requirement::Tests]);
    assert_eq!(config.reload.least_coverage(), Some(80), "the highest");
    for (word, says) in [
        (
            "coverage>=101",
            "invalid value: string \"coverage>=101\", expected a whole percentage from 0 to 100, as in \"coverage>=80\"",
        ),
        ("coverage>=", "invalid value: string \"coverage>=\", expected a whole percentage from 0 to 100, as in \"coverage>=80\""),
    ] {
        assert_eq!(lines(&with(&format!("[\"{word}\"]"))), [format!("2:12 `reload.require`: {says} | ")]);
    }
    assert_eq!(
        lines(&with("[\"coverage>80\"]")),
        ["2:12 `reload.require` must be one of check, tests, coverage>=80 | did you mean `coverage>=80`?"]
    );
    assert_eq!(
        lines(&with("[\"check\", \"test\"]")),
        ["2:21 `reload.require` must be one of check, tests, coverage>=80 | did you mean `tests`?"]
    );
}

#[test]
fn a_shadow_is_another_script_below_scripts() {
    let with = |shadow: &str| format!("{BASE}shadow = \"{shadow}\"\n");
    let (config, _) = Config::parse("rules.toml", &with("next/person.rhai")).expect("valid");
    let scripts: Vec<_> = config.rules[0].scripts().collect();
    assert_eq!(scripts, [("script", "person.rhai"), ("shadow", "next/person.rhai")]);
    for (shadow, says) in [
        ("person.rhai", "12:10 `shadow` is the rule's own script"),
        ("../person.rhai", "12:10 `../person.rhai` is no script"),
        ("tests/a_test.rhai", "12:10 a rule cannot run a test"),
        ("person", "12:10 `person` is no script: name a file below scripts/ that ends in .rhai | did you mean `person.rhai`?"),
    ] {
        let found = lines(&with(shadow));
        assert!(found[0].starts_with(says), "{found:?}");
    }
}

#[test]
fn a_batch_has_an_upper_bound_that_says_why() {
    let with = |events: &str| format!("[server]\nmax_batch_events = {events}\n{BASE}");
    let (config, _) = Config::parse("rules.toml", &with("16384")).expect("valid");
    assert_eq!(config.server.max_batch_events, MAX_BATCH_EVENTS);
    let found = lines(&with("16385"));
    assert!(
        found[0].starts_with("2:20 `server.max_batch_events` is 16385; it must be from 1 to 16384 | a batch is stored whole"),
        "{found:?}"
    );
    assert_eq!(lines(&with("0")), ["2:20 `server.max_batch_events` is 0; it must be from 1 to 16384 | "]);
}

#[test]
fn several_mistakes_are_reported_together_in_the_order_of_the_file() {
    let text = BASE.replace("person.rhai", "person").replace("acme", "https://acme.pipedrive.com/")
        + "priorty = 3\n\n[[rules]]\nname = \"person\"\nwhen = 'x'\nscript = 7\naccount = \"mian\"\n\n[delivery]\nconcurrency = \"many\"\n";
    let found = lines(&text);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found[0].starts_with("5:10 `https://acme.pipedrive.com/` is no Pipedrive domain"), "{found:#?}");
    assert!(found[0].ends_with("did you mean `acme`?"), "{found:#?}");
    assert_eq!(
        found[1],
        "11:10 `person` is no script: name a file below scripts/ that ends in .rhai | did you mean `person.rhai`?"
    );
    assert_eq!(found[2], "12:1 unknown key `priorty` in `rules` | did you mean `priority`?");
    assert!(found[3].starts_with("17:10 `rules.script`: invalid type: integer `7`, expected a quoted text"), "{found:#?}");
    assert!(
        found[4].starts_with("21:15 `delivery.concurrency`: invalid type: string \"many\", expected a whole number"),
        "{found:#?}"
    );
}

#[test]
fn rules_are_unique_and_refer_to_what_exists() {
    let rule = "\n[[rules]]\nname = \"person\"\nwhen = 'x'\nscript = \"x.rhai\"\naccount = \"mian\"\nsources = [\"websit\"]\n";
    let found = lines(&(BASE.to_owned() + rule));
    assert_eq!(
        found,
        [
            "14:8 two rules are named `person`: a delivery is named by its event and its rule | ",
            "17:11 rule `person` names the account `mian`, and there is no [pipedrive.mian] | did you mean `main`?",
            "18:11 rule `person` listens to the source `websit`, and there is no [sources.websit] | did you mean `website`?",
        ]
    );
    let two = BASE.to_owned() + "\n[pipedrive.other]\ndomain = \"b\"\napi_token = \"env:T\"\n";
    assert_eq!(
        lines(&two),
        ["8:1 rule `person` does not say which of the 2 accounts it writes to | add account = one of \"main\", \"other\""]
    );
    let found = lines(&BASE.replace("\"person\"", "\"a/b\""));
    assert!(found[0].starts_with("9:8 `a/b` cannot name a rule"), "{found:#?}");
}

#[test]
fn a_missing_key_names_the_rule_it_is_missing_in() {
    let found = lines(&BASE.replace("script = \"person.rhai\"\n", ""));
    assert_eq!(found, ["8:1 `script` is missing in `rules` | add a line `script = ...`"]);
}

#[test]
fn what_others_can_reach_needs_a_token() {
    let found = lines(&format!("[admin]\nlisten = \"0.0.0.0:8081\"\n{BASE}"));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("2:10 `admin.listen` is 0.0.0.0:8081, which others can reach"), "{found:#?}");
    let with_token = format!("[admin]\nlisten = \"0.0.0.0:8081\"\ntoken = \"env:ADMIN\"\n{BASE}");
    assert!(Config::parse("rules.toml", &with_token).is_ok());
}

#[test]
fn sources_and_accounts_need_their_keys() {
    let found = lines(&BASE.replace("write_keys = [\"env:KEY\"]", "keep_unmatched = \"1d\""));
    assert!(found[0].starts_with("1:1 source `website` has no key"), "{found:#?}");
    let found = lines(&BASE.replace("domain = \"acme\"\n", "").replace("api_token = \"env:TOKEN\"\n", ""));
    assert_eq!(found.len(), 2, "{found:#?}");
    let found = lines(&(BASE.to_owned() + "\n[sources.b]\nwrite_keys = [\"env:KEY\"]\n"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("env:KEY is also a write key of source `b`"), "{found:#?}");
}

#[test]
fn values_out_of_range_and_of_a_wrong_kind_say_what_is_right() {
    let found = lines(&format!("[server]\nlisten = \"localhost\"\ndedupe_window = \"7\"\n[scripts]\nthreads = 0\n{BASE}"));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("2:10 `server.listen`: this is no address; write it as \"127.0.0.1:8080\""), "{found:#?}");
    assert!(found[1].starts_with("3:17 `server.dedupe_window`: `7` is no duration"), "{found:#?}");
    assert!(found[2].starts_with("5:11 `scripts.threads` is 0; it must be from 1 to 256"), "{found:#?}");
    let found = lines(&(BASE.to_owned() + "write = \"differ\"\n"));
    assert_eq!(found, ["12:9 `rules.write` must be one of changed, differs, always | did you mean `differs`?"]);
}

#[test]
fn sizes_say_how_they_are_written() {
    for (given, message) in [
        (
            "\"32 KXB\"",
            "3:13 `server.max_event`: `32 KXB` is no size; write it as \"32 KiB\", \"20 GiB\" or a number of bytes | ",
        ),
        ("true", "3:13 `server.max_event`: this is no size; write it as \"32 KiB\", \"20 GiB\" or a number of bytes | "),
        ("-1", "3:13 `server.max_event`: this is no size; write it as \"32 KiB\", \"20 GiB\" or a number of bytes | "),
    ] {
        assert_eq!(lines(&format!("[server]\n\nmax_event = {given}\n{BASE}")), [message]);
    }
    let (config, _) =
        Config::parse("rules.toml", &format!("[server]\nmax_event = 2000\nmax_batch = \"2 KiB\"\n{BASE}")).expect("valid");
    assert_eq!((config.server.max_event.get(), config.server.max_batch.get()), (2000, 2048));
}

#[test]
fn a_secret_written_in_is_never_shown() {
    let texts = [
        BASE.replace("\"env:TOKEN\"", "\"s3cr3t\""),
        BASE.replace("\"env:TOKEN\"", "53535353"),
        BASE.replace("[\"env:KEY\"]", "[\n  \"env:KEY\",\n  \"s3cr3t\",\n]"),
        BASE.replace("api_token = \"env:TOKEN\"", "api_tokn = \"s3cr3t\""),
        BASE.replace("api_token = \"env:TOKEN\"", "api_token = \"s3cr3t"),
        BASE.replace("domain = \"acme\"\napi_token = \"env:TOKEN\"", "match_fields = { persn = \"a\" }\napi_token = \"s3cr3t\""),
    ];
    for text in texts {
        let found = problems(&text);
        let shown =
            format!("{}{:?}", crate::diagnostic::render_all(&found), found.iter().map(Diagnostic::one_line).collect::<Vec<_>>());
        assert!(!shown.contains("s3cr3t") && !shown.contains("53535353"), "{shown}");
    }
}

#[test]
fn text_that_is_no_toml_is_placed_too() {
    let found = lines("[server\nlisten = 1\n");
    assert!(found[0].starts_with("1:8 this is no valid TOML"), "{found:#?}");
}

#[test]
fn the_data_folder_is_found_in_a_broken_file() {
    assert_eq!(Config::data_dir_hint("[server]\ndata_dir = \"elsewhere\"\nlisten = 5\n[[rules]\n"), PathBuf::from("elsewhere"));
    assert_eq!(Config::data_dir_hint("nonsense"), PathBuf::from("data"));
}

#[test]
fn a_place_within_a_text_is_found_behind_escapes() {
    let text = "when = \"type = \\\"x\\\" oder\"\n";
    let places = Places::new("rules.toml", text);
    let d = places.at_char(Diagnostic::error("x"), &["when"], 12);
    let place = d.place.expect("a place");
    assert_eq!(&text[place.column - 1..place.column + 3], "oder");
}

#[test]
fn declared_fields_are_read_and_their_mistakes_have_their_place() {
    let with = |fields: &str| format!("{BASE}\n[pipedrive.main.fields]\n{fields}\n");
    let plan = "person = [{ name = \"Plan\", type = \"enum\", options = [\"Free\", \"Pro\"] }]";
    let (config, _) = Config::parse("rules.toml", &with(plan)).expect("valid");
    let [declared] = config.pipedrive["main"].fields.person.as_slice() else { panic!("one field") };
    assert_eq!((declared.name.as_str(), declared.field_type, declared.options.len()), ("Plan", CustomType::Enum, 2));
    let long = "x".repeat(256);
    for (fields, found) in [
        (
            plan.replace("enum", "enmu"),
            "14:35 `pipedrive.main.fields.person.type` must be one of varchar, varchar_auto, text, double, monetary, enum, set, user, org, people, phone, date, daterange, time, timerange, address | did you mean `enum`?",
        ),
        (plan.replace("person", "persn"), "14:1 unknown key `persn` in `pipedrive.main.fields` | did you mean `person`?"),
        (
            plan.replace("options", "option"),
            "14:43 unknown key `option` in `pipedrive.main.fields.person` | did you mean `options`?",
        ),
        (plan.replace("\"Pro\"", "\"Max \""), "14:62 an option's label has no blanks around it | write `Max`"),
        (plan.replace("\"Pro\"", "\"free\""), "14:62 `Plan` has the option `Free` twice | "),
        (
            plan.replace("[\"Free\", \"Pro\"]", "[]"),
            "14:11 `Plan` is of type enum and has no options | add options = [\"First\", \"Second\"]; Pipedrive makes no such field without",
        ),
        (
            plan.replace("enum", "text"),
            "14:53 `Plan` is of type text, which has no options | take type = \"enum\" for one of several options, \"set\" for any number of them",
        ),
        (plan.replace("\"Plan\"", "\"\""), "14:20 a field's name has 1 to 255 characters | "),
        (plan.replace("Plan", &long), "14:20 a field's name has 1 to 255 characters | "),
        (
            plan.replace("Plan", &"a1".repeat(20)),
            "14:20 this is a field's key, which Pipedrive makes | declare the field by its name",
        ),
        (
            plan.replace("}]", "}, { name = \"plan\", type = \"text\" }]"),
            "14:81 the person field `Plan` is declared twice | declare it once, with all its options",
        ),
    ] {
        assert_eq!(lines(&with(&fields)), [found], "{fields}");
    }
    let missing = lines(&with("deal = [{ name = \"Plan\" }]"));
    assert!(missing[0].contains("`type` is missing in `pipedrive.main.fields.deal`"), "{missing:?}");
    // What stands behind an item that cannot be read is not told at a wrong place.
    let behind =
        lines(&with("deal = [{ name = \"A\" },\n  { name = \"B\", type = \"text\" },\n  { name = \" C\", type = \"text\" }]"));
    assert_eq!(behind.len(), 1, "{behind:?}");
}

#[test]
fn a_budget_is_read_with_its_defaults_and_wrong_ones_say_what_to_write() {
    let with = |budget: &str| BASE.replace("domain", &format!("budget = {budget}\ndomain"));
    let (config, _) = Config::parse("rules.toml", &with("{ tokens_per_day = 30001 }")).expect("valid");
    let budget = config.pipedrive["main"].budget.expect("a budget");
    assert_eq!((budget.reserve, budget.reset, budget.reserved(), budget.ordinary()), (Share(10), ResetHour(0), 3001, 27_000));
    let text = with("{ tokens_per_day = 30000, reserve = \"25%\", reset = \"06:00 UTC\" }");
    let (config, _) = Config::parse("rules.toml", &text).expect("valid");
    let budget = config.pipedrive["main"].budget.expect("a budget");
    assert_eq!(
        (budget.reserve.to_string(), budget.reset.to_string(), budget.ordinary()),
        ("25%".into(), "06:00 UTC".into(), 22_500)
    );
    for (budget, says) in [
        (
            "30000",
            "5:10 `pipedrive.main.budget`: invalid type: integer `30000`, expected a table, such as { tokens_per_day = 30000 } | ",
        ),
        ("{}", "5:10 `tokens_per_day` is missing in `pipedrive.main.budget` | add a line `tokens_per_day = ...`"),
        ("{ tokens_per_day = 0 }", "5:29 `pipedrive.main.budget.tokens_per_day` is 0; it must be from 100 to 1000000000 | "),
        (
            "{ tokens_per_day = 9000, resrve = \"10%\" }",
            "5:35 unknown key `resrve` in `pipedrive.main.budget` | did you mean `reserve`?",
        ),
        (
            "{ tokens_per_day = 9000, reserve = \"10\" }",
            "5:45 `pipedrive.main.budget.reserve`: `10` is no whole percentage from 0% to 100%; did you mean \"10%\"? | ",
        ),
        (
            "{ tokens_per_day = 9000, reserve = \"a tenth\" }",
            "5:45 `pipedrive.main.budget.reserve`: `a tenth` is no whole percentage from 0% to 100%; write it as \"10%\" | ",
        ),
        (
            "{ tokens_per_day = 9000, reserve = \"100%\" }",
            "5:45 the whole budget is kept in reserve: no new delivery could begin | write a smaller part, such as \"10%\"",
        ),
        (
            "{ tokens_per_day = 9000, reset = \"06:00\" }",
            "5:43 `pipedrive.main.budget.reset`: `06:00` does not say in which zone; did you mean \"06:00 UTC\"? | ",
        ),
        (
            "{ tokens_per_day = 9000, reset = \"6:30 UTC\" }",
            "5:43 `pipedrive.main.budget.reset`: `6:30 UTC` is no whole hour; did you mean \"06:00 UTC\"? | ",
        ),
        (
            "{ tokens_per_day = 9000, reset = \"06:00 CET\" }",
            "5:43 `pipedrive.main.budget.reset`: `06:00 CET` is not in UTC; write the same moment as \"HH:00 UTC\" | ",
        ),
        (
            "{ tokens_per_day = 9000, reset = \"midnight\" }",
            "5:43 `pipedrive.main.budget.reset`: `midnight` is no hour of the day; write it as \"00:00 UTC\" or \"06:00 UTC\" | ",
        ),
    ] {
        assert_eq!(lines(&with(budget)), [says]);
    }
}
