//! The texts that a program is compiled from.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Script files and tables, by path relative to `scripts/` with `/` between folders (`lib/names.rhai`, `tables/countries.csv`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `*.rhai`, those under `tests/` left out.
    pub scripts: BTreeMap<String, Arc<str>>,
    /// `tables/*.csv`.
    pub tables: BTreeMap<String, Arc<str>>,
}
