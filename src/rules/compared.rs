//! Which scripts a shadow's counts are of.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::config::RuleConfig;
use crate::script::{Program, Sources};

/// Names a rule's script and its shadow by their content, with all that they import, and by the tables; none without a shadow.
pub(super) fn name(rule: &RuleConfig, program: &Program, sources: &Sources) -> Option<Arc<str>> {
    rule.shadow.as_ref()?;
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        // The length in front keeps the border between two parts.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    for (key, script) in rule.scripts() {
        add(key);
        for file in program.with_imports(script) {
            add(&file);
            add(sources.scripts.get(&*file).map_or("", |text| text));
        }
    }
    for (name, text) in &sources.tables {
        add(name);
        add(text);
    }
    Some(hex::encode(&hash.finalize()[..16]).into())
}
