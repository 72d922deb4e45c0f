//! The stable codes of diagnostics: one for each thing that a person would look up.
//!
//! Invariants: a code keeps its number and its meaning for ever, and a number that is given up is never given again; each code has a
//! page in `docs/errors/`, whose first line is its title and whose example gives it.

use std::fmt;

use super::did_you_mean;

/// What diagnostics of a code are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Errors: the set is refused.
    Error,
    /// Warnings: the set passes, and a comment can silence them.
    Warning,
    /// Errors or warnings, as the page says.
    Either,
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Either => "error or warning",
        })
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $weight:ident;)*) => {
        /// A stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// `PW001`.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// Whether it refuses a set.
            #[must_use]
            pub const fn weight(self) -> Weight {
                match self {
                    $(Self::$name => Weight::$weight,)*
                }
            }

            /// Its page in `docs/errors/`.
            #[must_use]
            pub const fn page(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!("../../docs/errors/", $id, ".md")),)*
                }
            }
        }
    };
}

codes! {
    /// A file or folder cannot be read.
    Unreadable = "PW001", Error;
    /// rules.toml is no TOML.
    NoToml = "PW002", Error;
    /// A key that rules.toml does not have.
    UnknownKey = "PW003", Error;
    /// Something that must be there and is not.
    Missing = "PW004", Error;
    /// A setting's value does not fit.
    Unfit = "PW005", Error;
    /// A secret is written in, or what it refers to is not there.
    Secret = "PW006", Error;
    /// A rule names what does not exist.
    NoSuch = "PW007", Error;
    /// Twice the same.
    Twice = "PW008", Error;
    /// A schema file that cannot be used.
    SchemaFile = "PW009", Error;
    /// A schema file of another company.
    OtherCompany = "PW010", Warning;
    /// Nothing comes in, or nothing is done.
    Idle = "PW011", Warning;
    /// The token goes over plain http.
    PlainHttp = "PW012", Warning;
    /// A secret file that others may read.
    SecretMode = "PW013", Warning;
    /// A trigger that is no valid FQL.
    Trigger = "PW101", Error;
    /// No event can meet a trigger.
    NeverMet = "PW102", Warning;
    /// Another rule of the same script has the same events.
    Covered = "PW103", Warning;
    /// No source of the rule can send what it waits for.
    NeverHeard = "PW104", Warning;
    /// A script's text is no Rhai.
    Syntax = "PW201", Error;
    /// A function that does not exist.
    UnknownFunction = "PW202", Error;
    /// A function with another number of arguments.
    Arguments = "PW203", Error;
    /// A variable or module that does not exist.
    UndefinedName = "PW204", Error;
    /// An import that leads nowhere, in a circle, or to a script that cannot be loaded.
    Import = "PW205", Error;
    /// A rule's script without `fn handle(event)`.
    Entry = "PW206", Error;
    /// A closure or function that would be kept.
    Kept = "PW207", Error;
    /// A table that is not there or cannot be read.
    Table = "PW208", Error;
    /// An option that a call does not take.
    CallOption = "PW209", Error;
    /// `switch` over a reference.
    SwitchOverReference = "PW210", Error;
    /// A limit of scripts.
    TooMuch = "PW211", Error;
    /// What Rhai has and rules do not.
    NotHere = "PW212", Error;
    /// A closure that uses the variable that its chain begins with.
    OwnChain = "PW213", Error;
    /// A field that the account does not have, or cannot be matched by.
    FieldName = "PW301", Either;
    /// A value that the account does not have.
    FieldValue = "PW302", Either;
    /// The account and its schema file differ.
    Drift = "PW303", Either;
    /// A variable, parameter or import that nothing uses.
    UnusedName = "PW401", Warning;
    /// A variable that hides another one.
    Shadowed = "PW402", Warning;
    /// Code that never runs.
    Unreachable = "PW403", Warning;
    /// A read for each item of a list.
    ReadInLoop = "PW404", Warning;
    /// A write that puts back what people changed, at each event.
    UndoesEdits = "PW405", Warning;
    /// A function with a successor.
    Deprecated = "PW406", Warning;
    /// A script that no rule reaches.
    UnusedScript = "PW407", Warning;
    /// A rule that no test runs.
    Untested = "PW408", Warning;
    /// An `allow` that silences nothing.
    Allow = "PW409", Warning;
    /// A function that nothing calls.
    UnusedFunction = "PW410", Warning;
}

impl Code {
    /// What it means, in a line.
    #[must_use]
    pub fn title(self) -> &'static str {
        let first = self.page().lines().next().unwrap_or_default();
        first.split_once(": ").map_or(first, |(_, title)| title)
    }

    /// The code of that name; small letters are as good, and so is the number alone.
    ///
    /// # Errors
    /// The nearest code, when one is near.
    pub fn parse(text: &str) -> Result<Self, Option<Self>> {
        let of = |id: &str| Self::ALL.iter().copied().find(|code| code.id().eq_ignore_ascii_case(id) || code.id()[2..] == *id);
        of(text).ok_or_else(|| did_you_mean(text, Self::ALL.iter().map(|code| code.id())).and_then(of))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
