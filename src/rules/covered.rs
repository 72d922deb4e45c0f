//! A set whose scripts are counted while they run.

use std::sync::Arc;

use super::ScriptSet;
use crate::diagnostic::Diagnostic;
use crate::script::Program;

impl ScriptSet {
    /// The same set with its scripts compiled anew, so that [`Program::coverage`] tells what was run. It is slower, and for tests only.
    ///
    /// # Errors
    /// What is wrong with the scripts; none with a set that was built.
    pub fn covered(&self) -> Result<Self, Vec<Diagnostic>> {
        let program = Arc::new(Program::compile_counting(&self.files.sources, &self.config.scripts)?);
        Ok(Self {
            version: self.version.clone(),
            config: self.config.clone(),
            rules: self.rules.clone(),
            remarks: self.remarks.clone(),
            sources: self.sources.clone(),
            tokens: self.tokens.clone(),
            webhooks: self.webhooks.clone(),
            schemas: self.schemas.clone(),
            files: self.files.clone(),
            program,
            index: self.index.clone(),
        })
    }
}
