//! Bodies of `fn handle(event)`, by what they try.

/// Functions that some of them call.
pub(super) const FUNCTIONS: &str = "fn deeper(n) { deeper(n + 1) }
fn id(x) { x }
fn nested(n) { id(id(id(id(id(id(id(id(id(id(id(id(nested(n + 1))))))))))))) }
fn twice(n) { if n > 0 { twice(n - 1); twice(n - 1); } }
fn ping(n) { pong(n + 1) }
fn pong(n) { ping(n + 1) }
fn numbers(n) { let a = []; for i in 0..n { a.push(i) } a }
fn who(x) { person::get(x + 1000) }
";

/// Never to end.
pub(super) const LOOPS: &[&str] = &[
    "loop {}",
    "let x = 0; loop { x += 1; }",
    "while true { let a = [1, 2, 3]; }",
    "do { } while true;",
    "do { } until false;",
    "for i in 0..9223372036854775807 {}",
    "for i in range(0, 9223372036854775807, 1) {}",
    "loop { try { loop {} } catch {} }",
    "loop { try { throw 1; } catch (e) { continue; } }",
    "loop { if false { break; } }",
    "loop { switch 1 { 1 => (), _ => () } }",
    "loop { log::info(\"x\"); }",
    "loop { print(\"x\"); }",
    "loop { person::create(#{ name: \"x\" }); }",
    "loop { who(1); }",
    "let n = 0; loop { n += 1; who(n); }",
    "(0..1000000000).map(|x| x)",
    "for a in numbers(9999) { for b in numbers(9999) { } }",
    "let i = 0; while i < 1e300 { i += 0; }",
    "for x in \"abc\" { loop { for y in \"abc\" {} } }",
];

/// Ever deeper.
pub(super) const RECURSION: &[&str] = &[
    "deeper(1)",
    "nested(12)",
    "twice(60)",
    "ping(0)",
    "let f = |f| f.call(f); f.call(f)",
    "let f = |f, n| if n > 0 { f.call(f, n - 1); f.call(f, n - 1); }; f.call(f, 60)",
    "let f = |x| [x].map(|y| deeper(y)); f.call(1)",
    "[1].map(|x| [x].map(|y| [y].map(|z| nested(z))))",
    "try { deeper(1) } catch { deeper(1) }",
    "let f = Fn(\"deeper\"); f.call(1)",
    "let f = Fn(\"twice\"); loop { f.call(20); }",
    "numbers(10).reduce(|sum, x| deeper(x), 0)",
];

/// Ever more.
pub(super) const MEMORY: &[&str] = &[
    "let s = \"x\"; loop { s += s; }",
    "let s = \"x\"; loop { s = `${s}${s}`; }",
    "let s = \"\"; s.pad(100000000, 'x');",
    "let s = \"aaaaaaaaaa\"; loop { s.replace(\"a\", \"aaaaaaaaaa\"); }",
    "let s = \"a\"; s.pad(200000, 'a'); loop { s.contains(\"b\"); }",
    "let s = \"a\"; s.pad(200000, 'a'); loop { s.index_of(\"ab\"); }",
    "let s = \"a,\"; s.pad(200000, ','); loop { s.split(\",\"); }",
    "let s = \"a\"; s.pad(200000, 'a'); loop { s.to_upper(); s.to_chars(); }",
    "let s = \"a\"; s.pad(200000, 'a'); let all = []; loop { all.push(s + \"b\"); }",
    "let s = \"a\"; s.pad(200000, 'a'); let m = #{}; let i = 0; loop { m[`k${i}`] = s + i; i += 1; }",
    "let s = \"a\"; s.pad(200000, 'a'); loop { s.reverse(); s.split(); }",
    "let a = [1]; loop { a += a; }",
    "let a = []; loop { a.push(a); }",
    "let a = []; loop { a = [a]; }",
    "let a = []; loop { a = [a, a]; }",
    "let a = numbers(9999); loop { a = a.map(|x| [x, x]); }",
    "let a = numbers(9999); let b = a.map(|x| numbers(9999)); b.len()",
    "let a = numbers(9999); loop { a.chunk(1); a.splice(0, 1, a); }",
    "let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1; }",
    "let m = #{}; loop { m = #{ a: m, b: m }; }",
    "let m = #{ a: 1 }; loop { m = #{ a: m + m, b: [m, m, m] }; }",
    "let b = blob(100000000);",
    "let b = blob(10); loop { b += b; }",
    "let b = blob(200000); let all = []; loop { all.push(b + blob(1)); }",
    "let a = [1]; a.pad(100000000, 1);",
    "let a = [1]; a.truncate(-9223372036854775807); a.extract(-99999999999, 99999999999); throw \"done\";",
    "let x = event; loop { x = #{ e: x }; }",
    "let x = event; let all = []; loop { all.push(x); x.extra = all; }",
    "let s = \"\"; loop { s += hash::sha256(s); }",
    "let s = \"a\"; s.pad(200000, '&'); loop { text::escape_html(s); }",
];

/// Functions that are called back.
pub(super) const CALLBACKS: &[&str] = &[
    "[1].map(|x| { loop {} })",
    "loop { try { [1].map(|x| { loop {} }) } catch {} }",
    "numbers(1000).map(|x| { let s = 0; for j in 0..100000 { s += j } s })",
    "[1].reduce(|sum, x| { loop {} }, 0)",
    "[1, 2].reduce_rev(|sum, x| { loop {} }, 0)",
    "#{ a: 1 }.filter(|k, v| { loop {} })",
    "[1].filter(|x| { loop {} })",
    "[1].some(|x| { loop {} })",
    "[1].all(|x| { loop {} })",
    "[1].find(|x| { loop {} })",
    "[1].find_map(|x| { loop {} })",
    "[1].index_of(|x| { loop {} })",
    "[1].for_each(|| { loop {} })",
    "[1].drain(|x| { loop {} })",
    "[1].retain(|x| { loop {} })",
    "[1, 2].dedup(|a, b| { loop {} })",
    "#{ a: 1 }.drain(|k, v| { loop {} })",
    "#{ a: 1 }.retain(|k, v| { loop {} })",
    "let p = || 1; loop { let q = p; p = || q; }",
    "let f = |x| x; loop { f = f.curry(1); }",
    "let f = || 0; for i in 0..50000 { let g = f; f = || g.call(); } f.call()",
    "let f = |x| x; for i in 0..9000 { let g = f; f = |x| g.call(x); } f.call(1)",
    "let all = []; for i in 0..9000 { all.push(|| all) } all.map(|f| f.call())",
];

/// Orders that are none.
pub(super) const SORTS: &[&str] = &[
    "numbers(1000).sort(|x, y| { loop {} })",
    "let a = [3, 1, 2]; loop { a.sort(|x, y| { throw 1; }); }",
    "let a = [3, 1, 2]; loop { try { a.sort(|x, y| { throw 1; }); } catch {} }",
    "let a = numbers(5000); a.sort(|x, y| 1); a.sort(|x, y| -1);",
    "let a = numbers(2000); let n = [0]; a.sort(|x, y| { n[0] += 1; if n[0] % 3 == 0 { 1 } else { -1 } });",
    "let a = numbers(2000); a.sort(|x, y| if (x + y) % 2 == 0 { 1 } else { -1 });",
    "let a = numbers(200); a.sort(|x, y| { who(x); x - y });",
    "let a = numbers(50); a.sort(|x, y| { try { who(x) } catch { } 1 });",
    "let a = numbers(2000); a.sort(|x, y| \"no number\");",
    "let a = [1, \"a\", (), [], #{}]; a.sort();",
    "let a = numbers(9999); loop { a.sort(|x, y| y - x); }",
    "let a = numbers(500); a.sort(|x, y| { a.push(1); x - y });",
];

/// Reads that are to be swallowed.
pub(super) const SWALLOWS: &[&str] = &[
    "try { who(1) } catch { } loop {}",
    "loop { try { who(1) } catch { } }",
    "for i in 0..100 { try { who(i) } catch { } }",
    "try { [1].map(|x| who(x)) } catch { } loop {}",
    "[1, 2, 3].map(|x| { try { who(x) } catch { 0 } })",
    "[1, 2, 3].filter(|x| { try { who(x) == () } catch { true } })",
    "[3, 2, 1].reduce(|sum, x| { try { who(x); sum } catch { sum } }, 0)",
    "[1, 2, 3].some(|x| { try { who(x); false } catch { false } })",
    "[1, 2, 3].all(|x| { try { who(x); true } catch { true } })",
    "[1, 2, 3].find(|x| { try { who(x); false } catch { false } })",
    "[1, 2, 3].for_each(|| { try { who(this) } catch { } })",
    "[1, 2, 3].retain(|x| { try { who(x); true } catch { true } })",
    "[1, 2, 3].drain(|x| { try { who(x); true } catch { true } })",
    "[1, 2, 3].dedup(|a, b| { try { who(a); true } catch { true } })",
    "[1, 2, 3].index_of(|x| { try { who(x); false } catch { false } })",
    "#{ a: 1, b: 2 }.filter(|k, v| { try { who(v); true } catch { true } })",
    "let f = || who(1); try { f.call() } catch { try { f.call() } catch { loop {} } }",
    "try { try { who(1) } catch { who(2) } } catch { who(3) }",
    "try { skip(\"no\") } catch { } loop {}",
    "try { fail(\"no\") } catch { } person::create(#{ name: \"after a fail\" });",
    "loop { try { retry(\"no\", 1) } catch { } }",
    "[1].map(|x| { try { skip(\"no\") } catch { 1 } }); person::create(#{ name: \"after a skip\" });",
    "let found = who(1); if found == () { who(2); who(3); } else { who(4); }",
];

/// What is not there, or not a number.
pub(super) const FORBIDDEN: &[&str] = &[
    "sleep(30)",
    "sleep(1e300)",
    "try { sleep(30) } catch { loop {} }",
    "Fn(\"sleep\").call(30)",
    "timestamp()",
    "Fn(\"timestamp\").call()",
    "Fn(\"eval\").call(\"1\")",
    "let x = 9223372036854775807; x + 1",
    "let x = -9223372036854775807 - 1; x / -1",
    "1 << 9999999999",
    "1 % 0",
    "let x = 2; x ** 9999999999",
    "import \"nowhere\" as n;",
    "import \"../../etc/passwd\" as n;",
    "import \"/etc/passwd\" as n;",
    "table(\"../../../etc/passwd\")",
    "Fn(\"handle\").call(event)",
];

/// Values that are handed out or thrown.
pub(super) const VALUES: &[&str] = &[
    "throw [[[[1]]]]",
    "let v = #{}; for i in 0..100 { v = #{ v: v }; } person::create(v);",
    "let v = []; for i in 0..5000 { v = [v]; } v",
    "let v = []; for i in 0..5000 { v = [v]; } throw v",
    "let v = #{}; for i in 0..5000 { v = #{ v: v }; } v",
    "let v = #{}; for i in 0..5000 { v = #{ v: v }; } throw v",
    "let v = []; for i in 0..5000 { v = [v]; } person::create(#{ name: v });",
    "let v = []; for i in 0..5000 { v = [v]; } log::info(v);",
    "let v = []; for i in 0..5000 { v = [v]; } print(v);",
    "let v = []; for i in 0..5000 { v = [v]; } v == v",
    "let v = []; for i in 0..3000 { v = [v]; } pipedrive::request(\"POST\", \"/api/v1/filters\", #{ v: v });",
    "let v = []; for i in 0..25 { v = [v, v]; } log::info(v);",
    "let v = []; for i in 0..25 { v = [v, v]; } throw v",
    "let v = #{}; for i in 0..25 { v = #{ a: v, b: v }; } person::create(#{ name: v });",
    "let v = #{}; for i in 0..25 { v = #{ a: v, b: v }; } person::find(#{ email: v });",
    "let f = |x| x; for i in 0..3000 { f = f.curry(f); } throw f",
    "let f = |x| x; for i in 0..3000 { f = f.curry(f); } log::info(f);",
    "let s = \"a\"; s.pad(200000, 'a'); throw s",
    "let s = \"a\"; s.pad(200000, 'a'); fail(s)",
    "for i in 0..99 { let s = \"a\"; s.pad(200000, 'a'); note::create(#{ content: s, person_id: 1 }); }",
];
