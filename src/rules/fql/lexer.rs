//! Text to tokens, each with the column where it begins.

use super::TriggerError;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Bang,
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`.
    Operator(&'static str),
    /// A keyword, function, field or path. `plain` when it holds no backslash: only then can it be a keyword.
    Word {
        keys: Vec<Box<str>>,
        plain: bool,
    },
    Text(String),
    Number(f64),
    End,
}

impl Token {
    /// For messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::OpenList => "`[`".to_owned(),
            Self::CloseList => "`]`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Bang => "`!`".to_owned(),
            Self::Operator(o) => format!("`{o}`"),
            Self::Word { keys, .. } => format!("`{}`", keys.join(".")),
            Self::Text(_) => "a text".to_owned(),
            Self::Number(n) => format!("`{n}`"),
            Self::End => "the end".to_owned(),
        }
    }

    /// The keyword or function name that this may be, in lower case.
    pub(super) fn keyword(&self) -> Option<String> {
        match self {
            Self::Word { keys, plain: true } if keys.len() == 1 => Some(keys[0].to_ascii_lowercase()),
            _ => None,
        }
    }
}

/// Characters that a key may hold without a backslash.
pub(super) fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// All tokens; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, TriggerError> {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0 };
    let mut tokens = Vec::new();
    loop {
        let (column, token) = lexer.next()?;
        let end = token == Token::End;
        tokens.push((column, token));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn next(&mut self) -> Result<(usize, Token), TriggerError> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        let column = self.at + 1;
        let Some(c) = self.peek() else { return Ok((column, Token::End)) };
        let token = match c {
            '(' => self.take(Token::Open),
            ')' => self.take(Token::Close),
            '[' => self.take(Token::OpenList),
            ']' => self.take(Token::CloseList),
            ',' => self.take(Token::Comma),
            '=' | '<' | '>' | '!' => self.operator(c),
            '"' | '\'' => self.text(c)?,
            '-' | '+' | '0'..='9' => self.number()?,
            c if in_word(c) || c == '\\' => self.word()?,
            '“' | '”' | '‘' | '’' => {
                return Err(TriggerError::new(column, format!("`{c}` is a typographic quote"), "a straight quote: \" or '"));
            }
            '&' | '|' => {
                let word = if c == '&' { "and" } else { "or" };
                return Err(TriggerError::new(column, format!("`{c}` is not used in triggers"), format!("`{word}`")));
            }
            c => return Err(TriggerError::new(column, format!("unexpected character `{c}`"), "a field, a function or a value")),
        };
        Ok((column, token))
    }

    fn operator(&mut self, first: char) -> Token {
        self.at += 1;
        let equals = self.peek() == Some('=');
        if equals && first != '=' {
            self.at += 1;
        }
        match (first, equals) {
            ('<', false) => Token::Operator("<"),
            ('<', true) => Token::Operator("<="),
            ('>', false) => Token::Operator(">"),
            ('>', true) => Token::Operator(">="),
            ('!', true) => Token::Operator("!="),
            ('!', false) => Token::Bang,
            // `==` is read as `=` twice; the parser says what it expected at the second.
            _ => Token::Operator("="),
        }
    }

    fn text(&mut self, quote: char) -> Result<Token, TriggerError> {
        let column = self.at + 1;
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += 1;
            match (c, self.peek()) {
                (c, _) if c == quote => return Ok(Token::Text(text)),
                // Any other backslash stays: patterns have their own meaning for it.
                ('\\', Some(next @ ('"' | '\'' | '\\'))) => {
                    self.at += 1;
                    text.push(next);
                }
                (c, _) => text.push(c),
            }
        }
        Err(TriggerError::new(column, "this text does not end", format!("a closing {quote}")))
    }

    fn number(&mut self) -> Result<Token, TriggerError> {
        let column = self.at + 1;
        let start = self.at;
        while self.peek().is_some_and(|c| in_word(c) || c == '.' || c == '+') {
            self.at += 1;
        }
        let text: String = self.chars[start..self.at].iter().collect();
        match text.parse::<f64>() {
            Ok(n) if n.is_finite() && !text.starts_with('+') => Ok(Token::Number(n)),
            _ => Err(TriggerError::new(
                column,
                format!("`{text}` is no number"),
                "a number such as 5, -1.5 or 1e3, or a quoted text",
            )),
        }
    }

    fn word(&mut self) -> Result<Token, TriggerError> {
        let mut keys = Vec::new();
        let mut key = String::new();
        let mut plain = true;
        loop {
            match self.peek() {
                Some('\\') => {
                    plain = false;
                    let Some(next) = self.chars.get(self.at + 1) else {
                        return Err(TriggerError::new(
                            self.at + 1,
                            "nothing follows the backslash",
                            "the character it stands before",
                        ));
                    };
                    key.push(*next);
                    self.at += 2;
                }
                Some(c) if in_word(c) => {
                    key.push(c);
                    self.at += 1;
                }
                other => {
                    if key.is_empty() {
                        return Err(TriggerError::new(self.at + 1, "a name is missing", "a name after the dot"));
                    }
                    keys.push(std::mem::take(&mut key).into_boxed_str());
                    if other != Some('.') {
                        return Ok(Token::Word { keys, plain });
                    }
                    self.at += 1;
                }
            }
        }
    }
}
