//! The parsed form of a trigger, and its printed form.
//!
//! Invariant: what is printed parses to an equal tree. Columns are not part of equality.

use std::fmt::{self, Display as _, Write as _};

/// A whole trigger, or a part of it in parentheses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    /// Joined by `and`; two or more.
    All(Vec<Expr>),
    /// Joined by `or`; two or more.
    Any(Vec<Expr>),
    /// `not`.
    Not(Box<Expr>),
    /// One condition.
    Condition(Condition),
}

/// One condition and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// In characters, from 1.
    pub(crate) column: usize,
    pub(crate) test: Test,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.test == other.test
    }
}

/// What a condition asks. `negated` is the operator's own negation (`!=`, `not in`, `!contains`), which is not always the
/// opposite: see the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    /// `x = 1`, `x != 1`.
    Equal { left: Operand, negated: bool, right: Literal },
    /// `x < 1`.
    Order { left: Operand, order: Order, right: f64 },
    /// `x in [1, 2]`.
    In { left: Operand, negated: bool, list: Vec<Literal> },
    /// `1 in x`.
    Member { item: Literal, negated: bool, list: Operand },
    /// `contains(x, "s")`.
    Contains { left: Operand, negated: bool, part: String },
    /// `match(x, "s*")`.
    Match { left: Operand, negated: bool, pattern: Pattern },
    /// `x` alone: true only when the value is `true`.
    True { left: Operand },
}

impl Test {
    /// The side that is read from the event.
    pub(crate) const fn operand(&self) -> &Operand {
        match self {
            Self::Equal { left, .. }
            | Self::Order { left, .. }
            | Self::In { left, .. }
            | Self::Contains { left, .. }
            | Self::Match { left, .. }
            | Self::True { left }
            | Self::Member { list: left, .. } => left,
        }
    }
}

/// What is read from the event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Field(Path),
    Lowercase(Box<Operand>),
    Length(Box<Operand>),
    TypeOf(Box<Operand>),
}

impl Operand {
    /// The field at the bottom.
    pub(crate) const fn path(&self) -> &Path {
        let mut operand = self;
        loop {
            match operand {
                Self::Field(path) => return path,
                Self::Lowercase(inner) | Self::Length(inner) | Self::TypeOf(inner) => operand = inner,
            }
        }
    }

    /// The path, when the field is compared as it is.
    pub(crate) const fn plain(&self) -> Option<&Path> {
        match self {
            Self::Field(path) => Some(path),
            _ => None,
        }
    }
}

/// Keys from the event's root; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<Box<str>>);

impl Path {
    /// Whether this is the top-level field of that name.
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self.0.as_slice(), [only] if **only == *name)
    }
}

/// A value written in the trigger.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

/// Ordering operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A glob: `*` is any run of characters, `?` any one, a backslash takes the next character as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) parts: Vec<Glob>,
}

/// A part of a glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glob {
    Run,
    One,
    Char(char),
}

impl Pattern {
    /// Reads a pattern; every text is one.
    pub(crate) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                // Two stars in a row are one: fewer ways to try.
                '*' if parts.last() == Some(&Glob::Run) => {}
                '*' => parts.push(Glob::Run),
                '?' => parts.push(Glob::One),
                '\\' => parts.push(Glob::Char(chars.next().unwrap_or('\\'))),
                c => parts.push(Glob::Char(c)),
            }
        }
        Self { parts }
    }

    /// Whether the whole text fits. Goes back to the last star only, so the time is at most the product of the lengths.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut part = 0;
        let mut star: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let mut ahead = rest.clone();
            let next = ahead.next();
            match (self.parts.get(part), next) {
                (Some(Glob::Run), _) => {
                    part += 1;
                    star = Some((part, rest.clone()));
                }
                (Some(Glob::One), Some(_)) => (part, rest) = (part + 1, ahead),
                (Some(Glob::Char(wanted)), Some(c)) if *wanted == c => (part, rest) = (part + 1, ahead),
                (None, None) => return true,
                _ => {
                    // The star takes one character more.
                    let Some((after, from)) = &mut star else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    part = *after;
                    rest = from.clone();
                }
            }
        }
    }
}

impl Expr {
    /// Whether `not` before it negates it as a whole. Before a function it is a part of the condition, which then wants a text.
    const fn stands_after_not(&self) -> bool {
        match self {
            Self::Not(_) => true,
            Self::Condition(condition) => !matches!(condition.test, Test::Contains { .. } | Test::Match { .. }),
            Self::All(_) | Self::Any(_) => false,
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(children) => join(f, children, " and ", |c| !matches!(c, Self::Condition(_) | Self::Not(_))),
            Self::Any(children) => join(f, children, " or ", |c| matches!(c, Self::Any(_))),
            // Without parentheses where there need not be any: each is a level more to read, and levels are bounded.
            Self::Not(inner) if inner.stands_after_not() => write!(f, "not {inner}"),
            Self::Not(inner) => write!(f, "not ({inner})"),
            Self::Condition(condition) => condition.test.fmt(f),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, children: &[Expr], by: &str, in_parentheses: impl Fn(&Expr) -> bool) -> fmt::Result {
    for (i, child) in children.iter().enumerate() {
        if i > 0 {
            f.write_str(by)?;
        }
        if in_parentheses(child) {
            write!(f, "({child})")?;
        } else {
            child.fmt(f)?;
        }
    }
    Ok(())
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool, word: &'static str| if *negated { word } else { "" };
        match self {
            Self::Equal { left, negated, right } => write!(f, "{left} {}= {right}", not(negated, "!")),
            Self::Order { left, order, right } => write!(f, "{left} {order} {right}"),
            Self::In { left, negated, list } => {
                write!(f, "{left} {}in [", not(negated, "not "))?;
                for (i, item) in list.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
                }
                f.write_char(']')
            }
            Self::Member { item, negated, list } => write!(f, "{item} {}in {list}", not(negated, "not ")),
            Self::Contains { left, negated, part } => {
                write!(f, "{}contains({left}, ", not(negated, "!"))?;
                quote(f, part)?;
                f.write_char(')')
            }
            Self::Match { left, negated, pattern } => write!(f, "{}match({left}, {pattern})", not(negated, "!")),
            Self::True { left } => left.fmt(f),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(path) => path.fmt(f),
            Self::Lowercase(inner) => write!(f, "lowercase({inner})"),
            Self::Length(inner) => write!(f, "length({inner})"),
            Self::TypeOf(inner) => write!(f, "typeof({inner})"),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, key) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char('.')?;
            }
            for c in key.chars() {
                if !super::lexer::in_word(c) {
                    f.write_char('\\')?;
                }
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => b.fmt(f),
            Self::Number(n) => n.fmt(f),
            Self::Text(text) => quote(f, text),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Glob::Run => text.push('*'),
                Glob::One => text.push('?'),
                Glob::Char(c @ ('*' | '?' | '\\')) => text.extend(['\\', *c]),
                Glob::Char(c) => text.push(*c),
            }
        }
        quote(f, &text)
    }
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}
