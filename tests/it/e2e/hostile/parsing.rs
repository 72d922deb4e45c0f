//! Texts that are meant to exhaust whoever reads them. `check` says what is wrong with them, or nothing, and ends.

use super::super::harness::Folder;

/// How many there are.
pub(super) const COUNT: usize = 37;

/// Name and text.
fn texts() -> [(&'static str, String); COUNT] {
    let handle = |body: String| format!("fn handle(event) {{ {body} }}");
    let many = |text: &str, n: usize| text.repeat(n);
    [
        ("parentheses", handle(many("(", 100_000) + "1" + &many(")", 100_000))),
        ("parentheses that stay open", handle(many("(", 200_000))),
        ("arrays", handle(many("[", 100_000) + &many("]", 100_000))),
        ("arrays that stay open", handle(many("[", 200_000))),
        ("maps", handle(many("#{a:", 40_000) + "1" + &many("}", 40_000))),
        ("blocks", handle(many("{", 100_000) + &many("}", 100_000))),
        ("ifs", handle(many("if true {", 20_000) + &many("}", 20_000))),
        ("else ifs", handle("if a {} ".to_owned() + &many("else if a {} ", 15_000))),
        ("loops", handle(many("loop {", 30_000) + &many("}", 30_000))),
        ("tries", handle(many("try {", 20_000) + &many("} catch {}", 20_000))),
        ("closures", handle(many("|x| ", 40_000) + "1")),
        ("calls", handle(many("id(", 60_000) + "1" + &many(")", 60_000))),
        ("methods", handle("a".to_owned() + &many(".b()", 50_000))),
        ("properties", handle("event".to_owned() + &many("?.a", 70_000))),
        ("indexing", handle("event".to_owned() + &many("[0]", 70_000))),
        ("indexing inside", handle(many("event[", 35_000) + "0" + &many("]", 35_000))),
        ("a sum", handle("1".to_owned() + &many("+1", 100_000))),
        ("a product of sums", handle("1".to_owned() + &many("+1*1", 50_000))),
        ("minus signs", handle(many("-", 100_000) + "1")),
        ("exclamation marks", handle(many("!", 100_000) + "true")),
        ("questions", handle("a".to_owned() + &many(" ?? a", 40_000))),
        ("ands", handle("true".to_owned() + &many(" && true", 25_000))),
        ("a text within texts", handle(many("`${", 30_000) + "1" + &many("}`", 30_000))),
        ("a text that stays open", handle("\"".to_owned() + &many("a", 200_000))),
        ("a comment within comments", many("/* ", 60_000)),
        ("a long name", handle("let ".to_owned() + &many("a", 200_000) + " = 1;")),
        ("a long number", handle(many("9", 200_000))),
        ("a hexadecimal number", handle("0x".to_owned() + &many("f", 200_000))),
        ("many functions", (0..20_000).map(|n| format!("fn f{n}() {{}}\n")).collect::<String>() + &handle(String::new())),
        ("many variables", handle((0..15_000).map(|n| format!("let a{n} = 1;")).collect())),
        (
            "many parameters",
            format!("fn f({}) {{}} {}", (0..20_000).map(|n| format!("a{n},")).collect::<String>(), handle(String::new())),
        ),
        ("many arms", handle("switch 1 {".to_owned() + &(0..12_000).map(|n| format!("{n} => {n},")).collect::<String>() + "}")),
        ("arms that are ranges", handle("switch 1 {".to_owned() + &many("0..9223372036854775807 => 1,", 9_000) + "}")),
        ("imports", many("import \"a\" as a;\n", 15_000) + &handle(String::new())),
        ("zero bytes", handle(many("\0", 100_000))),
        ("marks of direction", handle(many("\u{202e}", 60_000))),
        ("more than a script may be", handle(many("1;", 200_000))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_exhausts_its_reader_is_read_or_refused_and_the_reader_lives() {
    let folder = Folder::init().await;
    let rule = "\n[[rules]]\nname = \"hostile\"\nwhen = 'event = \"Hostile\"'\nscript = \"hostile.rhai\"\n";
    folder.write("rules.toml", &(folder.read("rules.toml") + rule));
    for (name, text) in texts() {
        folder.write("scripts/hostile.rhai", &text);
        let ended = folder.run(&["check"]).await;
        // Killed by a signal it would have no code.
        assert!(matches!(ended.code, Some(0..=2)), "{name}: {:?}\n{}", ended.code, ended.err);
        assert!(ended.out.len() + ended.err.len() < 100_000, "{name}: {} bytes were said", ended.out.len() + ended.err.len());
    }
}
