//! The schema file of an account while fields are made.
//!
//! Invariants: it is written after each thing that was made, so a command that is killed leaves out one at most, and the next one adds that;
//! only what is missing is added: names that it pins stay pinned, but for those of fields that the account has no more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::replace;
use crate::crm::{Field, Metadata, same_name, write_schema};
use crate::pipedrive::Kind;
use crate::rules::SchemaFile;

/// The file, and what it holds by now.
pub(super) struct Pinned {
    path: PathBuf,
    name: String,
    schema: Metadata,
    written: bool,
}

impl Pinned {
    pub(super) fn new(dir: &Path, file: SchemaFile) -> Self {
        let SchemaFile { file: name, schema, .. } = file;
        Self { path: dir.join(&name), name, schema: Arc::unwrap_or_clone(schema), written: false }
    }

    pub(super) const fn schema(&self) -> &Metadata {
        &self.schema
    }

    /// Its name, when something was added.
    pub(super) fn written(&self) -> Option<&str> {
        self.written.then_some(self.name.as_str())
    }

    /// Adds a field of the account that it does not have, or those of these options. A name stands for one field: one of the same name that
    /// `account` has no more makes room.
    pub(super) fn add(&mut self, account: &Metadata, kind: Kind, field: &Field, labels: &[String]) -> Result<(), String> {
        let fields = self.schema.fields.entry(kind).or_default();
        match fields.iter_mut().find(|known| known.key == field.key) {
            None => {
                let stale =
                    |known: &Field| same_name(&known.name, &field.name) && account.custom_field(kind, &known.key).is_none();
                fields.retain(|known| !(known.custom && stale(known)));
                fields.push(field.clone());
            }
            Some(known) => {
                let wanted = field.options.iter().filter(|option| labels.iter().any(|label| same_name(label, &option.label)));
                let new: Vec<_> = wanted.filter(|option| known.options.iter().all(|o| o.id != option.id)).cloned().collect();
                if new.is_empty() {
                    return Ok(());
                }
                known.options.extend(new);
            }
        }
        let text = write_schema(&self.schema).map_err(|error| error.to_string())?;
        replace(&self.path, &text).map_err(|error| format!("{} cannot be written: {error}", self.path.display()))?;
        self.written = true;
        Ok(())
    }
}
