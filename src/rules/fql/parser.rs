//! Tokens to a tree. `not` binds tightest, then `and`, then `or`.

use super::TriggerError;
use super::ast::{Condition, Expr, Literal, Operand, Order, Path, Pattern, Test};
use super::lexer::{Token, tokens};
use crate::diagnostic::did_you_mean;

/// Longest trigger, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// Deepest nesting of parentheses, `not` and functions. Bounds the parser's stack and that of everything that walks the tree.
const MAX_DEPTH: usize = 64;

/// Top-level fields of an event. Those with further keys below them come first.
const FIELDS: [&str; 20] = [
    "properties",
    "traits",
    "context",
    "integrations",
    "type",
    "event",
    "name",
    "userId",
    "anonymousId",
    "groupId",
    "messageId",
    "previousId",
    "category",
    "channel",
    "version",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "receivedAt",
    "writeKey",
];

/// How many of [`FIELDS`] hold further keys.
const ROOTS: usize = 4;

const FUNCTIONS: [&str; 5] = ["contains", "match", "lowercase", "length", "typeof"];

const CONDITION: &str = "a condition, such as type = \"track\"";

/// Fields whose value is a text in every event; a number compared with one of them is compared as text.
pub(super) const TEXT_FIELDS: [&str; 8] =
    ["type", "event", "name", "userId", "anonymousId", "groupId", "messageId", "previousId"];

/// Parses a trigger.
pub(super) fn parse(text: &str) -> Result<Expr, TriggerError> {
    if text.len() > MAX_TEXT {
        return Err(TriggerError::new(1, "the trigger is too long", format!("at most {MAX_TEXT} bytes")));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    if parser.peek() == &Token::End {
        return Err(TriggerError::new(parser.column(), "the trigger is empty", CONDITION));
    }
    let expr = parser.any()?;
    match parser.peek() {
        Token::End => Ok(expr),
        Token::Close => Err(parser.unexpected("`and`, `or` or the end; this parenthesis was not opened")),
        _ => Err(parser.unexpected("`and`, `or` or the end")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    fn peek_second(&self) -> &Token {
        self.tokens.get(self.at + 1).map_or(&Token::End, |t| &t.1)
    }

    fn column(&self) -> usize {
        self.tokens[self.at].0
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].1.clone();
        // The last token is the end and stays.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn unexpected(&self, expected: impl Into<String>) -> TriggerError {
        TriggerError::new(self.column(), format!("unexpected {}", self.peek().describe()), expected)
    }

    fn expect(&mut self, token: &Token, expected: &str) -> Result<(), TriggerError> {
        if self.peek() != token {
            return Err(self.unexpected(expected));
        }
        self.advance();
        Ok(())
    }

    fn is_word(&self, word: &str) -> bool {
        self.peek().keyword().as_deref() == Some(word)
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, TriggerError>) -> Result<T, TriggerError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(TriggerError::new(self.column(), "nested too deeply", format!("at most {MAX_DEPTH} levels")));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn any(&mut self) -> Result<Expr, TriggerError> {
        self.chain("or", Self::all, Expr::Any)
    }

    fn all(&mut self) -> Result<Expr, TriggerError> {
        self.chain("and", Self::unary, Expr::All)
    }

    fn chain(
        &mut self,
        word: &str,
        operand: fn(&mut Self) -> Result<Expr, TriggerError>,
        group: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, TriggerError> {
        let first = operand(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let mut children = vec![first];
        while self.is_word(word) {
            self.advance();
            children.push(operand(self)?);
        }
        Ok(group(children))
    }

    fn unary(&mut self) -> Result<Expr, TriggerError> {
        if self.peek() == &Token::Bang || self.is_word("not") {
            self.advance();
            // `!contains(..)` is an operator of its own: false when the value is missing.
            if let Some(name @ ("contains" | "match")) = self.peek().keyword().as_deref()
                && self.peek_second() == &Token::Open
            {
                let column = self.column();
                let test = self.text_test(name == "contains", true)?;
                return Ok(Expr::Condition(Condition { column, test }));
            }
            return self.deeper(|p| Ok(Expr::Not(Box::new(p.unary()?))));
        }
        if self.peek() == &Token::Open {
            return self.deeper(|p| {
                p.advance();
                let inner = p.any()?;
                p.expect(&Token::Close, "`and`, `or` or `)`")?;
                Ok(inner)
            });
        }
        let column = self.column();
        let test = self.test()?;
        Ok(Expr::Condition(Condition { column, test }))
    }

    fn test(&mut self) -> Result<Test, TriggerError> {
        let keyword = self.peek().keyword();
        match (self.peek(), keyword.as_deref()) {
            (_, Some(name @ ("contains" | "match"))) if self.peek_second() == &Token::Open => {
                self.text_test(name == "contains", false)
            }
            (Token::Text(_) | Token::Number(_), _) | (_, Some("true" | "false" | "null")) => self.member(),
            (Token::Word { .. }, Some("and" | "or" | "in")) => Err(self.unexpected(CONDITION)),
            (Token::Word { .. }, _) => self.comparison(),
            _ => Err(self.unexpected(CONDITION)),
        }
    }

    /// `"a" in properties.list`.
    fn member(&mut self) -> Result<Test, TriggerError> {
        let item = self.literal()?;
        let negated = self.take_not()?;
        if !self.is_word("in") {
            return Err(self.unexpected("`in`; in other conditions the field comes first, as in type = \"track\""));
        }
        self.advance();
        if self.peek() == &Token::OpenList {
            return Err(self.unexpected("a field that holds a list; a list of values goes with a field before `in`"));
        }
        Ok(Test::Member { item, negated, list: self.operand()? })
    }

    /// Consumes the `not` of `not in`.
    fn take_not(&mut self) -> Result<bool, TriggerError> {
        let negated = self.is_word("not");
        if negated {
            self.advance();
            if !self.is_word("in") {
                return Err(self.unexpected("`in`"));
            }
        }
        Ok(negated)
    }

    fn comparison(&mut self) -> Result<Test, TriggerError> {
        let left = self.operand()?;
        let as_text = left.plain().is_some_and(|path| TEXT_FIELDS.iter().any(|f| path.is(f)));
        let operator = match self.peek() {
            Token::Operator(operator) => *operator,
            Token::End | Token::Close => return Ok(Test::True { left }),
            _ if self.is_word("and") || self.is_word("or") => return Ok(Test::True { left }),
            _ if self.is_word("in") || self.is_word("not") => {
                let negated = self.take_not()?;
                self.advance();
                let list = self.list()?.into_iter().map(|l| text_of(l, as_text)).collect();
                return Ok(Test::In { left, negated, list });
            }
            _ => return Err(self.unexpected("one of = != < <= > >=, `in` or `not in`")),
        };
        self.advance();
        let order = match operator {
            "<" => Order::Less,
            "<=" => Order::LessOrEqual,
            ">" => Order::Greater,
            ">=" => Order::GreaterOrEqual,
            _ => {
                if matches!(self.peek(), Token::Operator("=")) {
                    return Err(self.unexpected("a value; equality is written with one `=`"));
                }
                let right = text_of(self.literal()?, as_text);
                return Ok(Test::Equal { left, negated: operator == "!=", right });
            }
        };
        let column = self.column();
        let number = match self.literal()? {
            Literal::Number(n) => Some(n),
            Literal::Text(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
            _ => None,
        };
        let right = number.ok_or_else(|| TriggerError::new(column, format!("`{operator}` compares numbers only"), "a number"))?;
        Ok(Test::Order { left, order, right })
    }

    fn list(&mut self) -> Result<Vec<Literal>, TriggerError> {
        self.expect(&Token::OpenList, "a list, such as [\"a\", \"b\"]")?;
        let mut items = vec![self.literal()?];
        loop {
            match self.advance_if_listed()? {
                Token::CloseList => return Ok(items),
                _ if self.peek() == &Token::CloseList => {}
                _ => items.push(self.literal()?),
            }
        }
    }

    fn advance_if_listed(&mut self) -> Result<Token, TriggerError> {
        match self.peek() {
            Token::Comma | Token::CloseList => Ok(self.advance()),
            _ => Err(self.unexpected("`,` or `]`")),
        }
    }

    /// `contains(x, "s")` and `match(x, "s*")`, from the function's name.
    fn text_test(&mut self, contains: bool, negated: bool) -> Result<Test, TriggerError> {
        self.advance();
        self.expect(&Token::Open, "`(`")?;
        let left = self.deeper(Self::operand)?;
        self.expect(&Token::Comma, "`,` and a quoted text")?;
        let column = self.column();
        let text = match self.literal()? {
            Literal::Text(text) => text,
            Literal::Number(n) => n.to_string(),
            Literal::Bool(_) | Literal::Null => return Err(TriggerError::new(column, "this is no text", "a quoted text")),
        };
        self.expect(&Token::Close, "`)`")?;
        Ok(if contains {
            Test::Contains { left, negated, part: text }
        } else {
            Test::Match { left, negated, pattern: Pattern::new(&text) }
        })
    }

    fn operand(&mut self) -> Result<Operand, TriggerError> {
        let Token::Word { keys, plain } = self.peek().clone() else {
            return Err(self.unexpected("a field, such as type, event, userId, properties.plan or traits.email"));
        };
        if self.peek_second() == &Token::Open {
            return self.function();
        }
        self.field(&keys, plain)?;
        self.advance();
        Ok(Operand::Field(Path(keys)))
    }

    fn function(&mut self) -> Result<Operand, TriggerError> {
        let name = self.peek().keyword().unwrap_or_else(|| self.peek().describe());
        let wrap: fn(Box<Operand>) -> Operand = match name.as_str() {
            "lowercase" => Operand::Lowercase,
            "length" => Operand::Length,
            "typeof" => Operand::TypeOf,
            "contains" | "match" => return Err(self.unexpected("a field; contains() and match() are conditions, not values")),
            _ => {
                let expected = did_you_mean(&name, FUNCTIONS)
                    .map_or_else(|| "contains(), match(), lowercase(), length() or typeof()".to_owned(), |f| format!("{f}()"));
                return Err(TriggerError::new(self.column(), format!("unknown function {name}()"), expected));
            }
        };
        self.advance();
        self.deeper(|p| {
            p.expect(&Token::Open, "`(`")?;
            let inner = p.operand()?;
            p.expect(&Token::Close, "`)`")?;
            Ok(wrap(Box::new(inner)))
        })
    }

    fn field(&self, keys: &[Box<str>], plain: bool) -> Result<(), TriggerError> {
        let root = &*keys[0];
        match FIELDS.iter().position(|f| *f == root) {
            Some(place) if place < ROOTS || keys.len() == 1 => Ok(()),
            Some(_) => Err(TriggerError::new(
                self.column(),
                format!("`{root}` has nothing below it"),
                format!("`{root}` alone, or a path such as properties.{}", keys[1]),
            )),
            None => {
                let expected = did_you_mean(root, FIELDS).map_or_else(
                    || {
                        format!(
                            "a top-level field ({}), or properties.{root}, traits.{root}, context.{root}",
                            FIELDS[ROOTS..].join(", ")
                        )
                    },
                    |field| format!("`{field}`"),
                );
                let shown = if plain { keys.join(".") } else { root.to_owned() };
                Err(TriggerError::new(self.column(), format!("unknown field `{shown}`"), expected))
            }
        }
    }

    fn literal(&mut self) -> Result<Literal, TriggerError> {
        let literal = match self.peek() {
            Token::Text(text) => Literal::Text(text.clone()),
            Token::Number(n) => Literal::Number(*n),
            Token::Word { keys, plain } => match self.peek().keyword().as_deref() {
                Some("null") => Literal::Null,
                Some("true") => Literal::Bool(true),
                Some("false") => Literal::Bool(false),
                Some("and" | "or" | "not" | "in") => {
                    return Err(self.unexpected("a value: a quoted text, a number, true, false or null"));
                }
                // Segment reads a bare word as text.
                Some(_) if self.peek_second() != &Token::Open => Literal::Text(keys[0].to_string()),
                None if !*plain && keys.len() == 1 => Literal::Text(keys[0].to_string()),
                _ => {
                    return Err(
                        self.unexpected("a value: a quoted text, a number, true, false or null; two fields cannot be compared")
                    );
                }
            },
            _ => return Err(self.unexpected("a value: a quoted text, a number, true, false or null")),
        };
        self.advance();
        Ok(literal)
    }
}

fn text_of(literal: Literal, as_text: bool) -> Literal {
    match literal {
        Literal::Number(n) if as_text => Literal::Text(n.to_string()),
        literal => literal,
    }
}
