//! `table("countries.csv")`: look-up tables beside the scripts.
//!
//! Invariants: tables are read and checked when the program is compiled, never during a run; rows and columns keep the order
//! of the file; keys are compared exactly, after trimming.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use rhai::{Dynamic, Engine, FuncRegistration, ImmutableString, Map, Module};

use super::define;
use crate::diagnostic::{Code, Diagnostic, did_you_mean};
use crate::script::sources::Sources;
use crate::script::state::{Hosted, refuse, refuse_with};
use crate::script::value::type_word;

/// Most rows of a table.
const MAX_ROWS: usize = 100_000;

/// One table.
#[derive(Debug)]
pub(in crate::script) struct Table {
    name: String,
    columns: Vec<String>,
    rows: Vec<Vec<ImmutableString>>,
    /// First row by value, per column; made when first asked for.
    indexes: Vec<OnceLock<HashMap<ImmutableString, usize>>>,
}

/// A table in a script.
#[derive(Debug, Clone)]
struct Handle(Arc<Table>);

/// Reads every table of the sources, by file name without `tables/`.
pub(in crate::script) fn read_all(sources: &Sources, problems: &mut Vec<Diagnostic>) -> BTreeMap<String, Arc<Table>> {
    let mut tables = BTreeMap::new();
    for (path, text) in &sources.tables {
        match read(path, text) {
            Ok(table) => {
                tables.insert(short_name(path).to_owned(), Arc::new(table));
            }
            Err(problem) => problems.push(*problem),
        }
    }
    tables
}

/// A table's name without its folder.
pub(in crate::script) fn short_name(path: &str) -> &str {
    path.strip_prefix("tables/").unwrap_or(path)
}

fn read(path: &str, text: &str) -> Result<Table, Box<Diagnostic>> {
    let place = |line: u64, message: String| {
        Box::new(Diagnostic::error(message).code(Code::Table).at(path, text, usize::try_from(line).unwrap_or(1), 1, 1))
    };
    let text_without_mark = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text_without_mark.as_bytes());
    let columns: Vec<String> =
        reader.headers().map_err(|e| place(1, format!("the table cannot be read: {e}")))?.iter().map(str::to_owned).collect();
    if columns.is_empty() || columns.iter().any(String::is_empty) {
        return Err(place(1, "the first line of a table names its columns; a name is empty".to_owned()));
    }
    if let Some(twice) = columns.iter().enumerate().find_map(|(i, c)| columns[..i].contains(c).then_some(c)) {
        return Err(place(1, format!("the table has two columns `{twice}`")));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| {
            let line = e.position().map_or(1, csv::Position::line);
            place(line, format!("the table cannot be read: {}", csv_reason(&e)))
        })?;
        if rows.len() == MAX_ROWS {
            return Err(place(1, format!("the table has more than {MAX_ROWS} rows")));
        }
        rows.push(record.iter().map(ImmutableString::from).collect());
    }
    let indexes = columns.iter().map(|_| OnceLock::new()).collect();
    Ok(Table { name: short_name(path).to_owned(), columns, rows, indexes })
}

fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the line has {len} values, the first line names {expected_len} columns")
        }
        _ => error.to_string(),
    }
}

impl Table {
    fn column(&self, name: &str) -> Hosted<usize> {
        self.columns.iter().position(|c| c == name).ok_or_else(|| {
            let near = did_you_mean(name, self.columns.iter().map(String::as_str));
            let help =
                near.map_or_else(|| format!("its columns are {}", self.columns.join(", ")), |n| format!("did you mean `{n}`?"));
            refuse_with(format!("table {} has no column `{name}`", self.name), Some(help))
        })
    }

    fn row(&self, column: usize, value: &Dynamic) -> Hosted<Dynamic> {
        let Some(value) = key_of(value)? else { return Ok(Dynamic::UNIT) };
        let index = self.indexes[column].get_or_init(|| {
            let mut index = HashMap::with_capacity(self.rows.len());
            for (number, row) in self.rows.iter().enumerate() {
                index.entry(row[column].clone()).or_insert(number);
            }
            index
        });
        Ok(index.get(value.as_str()).map_or(Dynamic::UNIT, |number| self.map(*number)))
    }

    fn map(&self, number: usize) -> Dynamic {
        let row = &self.rows[number];
        let map: Map = self.columns.iter().zip(row).map(|(c, v)| (c.as_str().into(), Dynamic::from(v.clone()))).collect();
        Dynamic::from_map(map)
    }
}

/// What is looked up; nothing for `()`.
fn key_of(value: &Dynamic) -> Hosted<Option<ImmutableString>> {
    if value.is_unit() {
        return Ok(None);
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Some(text.trim().into()));
    }
    if let Ok(number) = value.as_int() {
        return Ok(Some(number.to_string().into()));
    }
    Err(refuse(format!("a table is looked up by a text or a whole number, not by {}", type_word(value))))
}

/// Says that a table does not exist, and what to do.
pub(in crate::script) fn missing(name: &str, tables: &BTreeMap<String, Arc<Table>>) -> (String, String) {
    let name = short_name(name);
    let help = did_you_mean(name, tables.keys().map(String::as_str))
        .map_or_else(|| "tables are CSV files in scripts/tables/".to_owned(), |near| format!("did you mean \"{near}\"?"));
    (format!("there is no table {name}"), help)
}

/// Registers `table` and its methods.
pub(super) fn register(engine: &mut Engine, module: &mut Module, tables: Arc<BTreeMap<String, Arc<Table>>>) {
    engine.register_type_with_name::<Handle>("Table");
    define(module, "table", &["name", "Table"], docs::TABLE, move |name: &str| -> Hosted<Handle> {
        tables.get(short_name(name)).cloned().map(Handle).ok_or_else(|| {
            let help = did_you_mean(short_name(name), tables.keys().map(String::as_str))
                .map_or_else(|| "tables are CSV files in scripts/tables/".to_owned(), |near| format!("did you mean \"{near}\"?"));
            refuse_with(format!("there is no table {}", short_name(name)), Some(help))
        })
    });
    method(module, "get", &["table: Table", "key", "map"], docs::GET, |table: &mut Handle, key: Dynamic| table.0.row(0, &key));
    method(
        module,
        "find",
        &["table: Table", "column", "value", "map"],
        docs::FIND,
        |table: &mut Handle, column: &str, value: Dynamic| {
            let column = table.0.column(column)?;
            table.0.row(column, &value)
        },
    );
    method(module, "rows", &["table: Table", "array"], docs::ROWS, |table: &mut Handle| -> rhai::Array {
        (0..table.0.rows.len()).map(|number| table.0.map(number)).collect()
    });
}

fn method<A: 'static, const N: usize, const X: bool, R, const F: bool, FUNC>(
    module: &mut Module,
    name: &str,
    params: &[&str],
    docs: &str,
    function: FUNC,
) where
    R: rhai::Variant + Clone,
    FUNC: rhai::RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
{
    let comment = docs.trim().lines().map(|line| format!("/// {line}")).collect::<Vec<_>>().join("\n");
    FuncRegistration::new(name)
        .in_global_namespace()
        .with_params_info(params)
        .with_comments([comment])
        .set_into_module(module, function);
}

mod docs {
    pub(super) const TABLE: &str = r#"
A CSV file in `scripts/tables/`; its first line names the columns. Read once, when the scripts are loaded; a change of the file
reloads them. A name that does not exist is an error.

```rhai
let country = table("countries.csv").get("DE");
person::upsert(#{ email: "ada@acme.com" }, #{ "Country": country?.name });
```
"#;
    pub(super) const GET: &str = r#"
The first row whose first column is the key, as a map from column to text; `()` when there is none or the key is `()`.

```rhai
table("countries.csv").get("DE")?.name;  // => "Germany"
```
"#;
    pub(super) const FIND: &str = r#"
The first row whose named column has the value, as a map; `()` when there is none.

```rhai
table("countries.csv").find("name", "Germany")?.code;  // => "DE"
```
"#;
    pub(super) const ROWS: &str = r#"
All rows as maps, in the order of the file.

```rhai
table("countries.csv").rows().len();  // => 3
```
"#;
}
