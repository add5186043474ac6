//! The patterns of routing rules: `*`, `?`, `[seq]` and `[!seq]`, as Python's `fnmatch` has them.
//! `rule.rs` has those of an output.

/// A pattern, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Literal(char),
    Class { is_negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let pattern: Vec<char> = pattern.chars().collect();
        let (mut tokens, mut at) = (Vec::new(), 0);
        while let Some(character) = pattern.get(at) {
            at += 1;
            tokens.push(match character {
                '*' => Token::Any,
                '?' => Token::One,
                '[' => match class(&pattern[at..]) {
                    Some((class, length)) => {
                        at += length;
                        class
                    }
                    None => Token::Literal('['),
                },
                other => Token::Literal(*other),
            });
        }
        Self(tokens)
    }

    /// Whether the whole text matches. Takes at most the product of both lengths.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut token) = (0, 0);
        // Where the last `*` is, and how far it reaches.
        let mut star: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.0.get(token) {
                Some(Token::Any) => {
                    star = Some((token, at));
                    token += 1;
                }
                Some(one) if one.accepts(text[at]) => {
                    at += 1;
                    token += 1;
                }
                _ => {
                    let Some((any, reach)) = star else { return false };
                    star = Some((any, reach + 1));
                    (at, token) = (reach + 1, any + 1);
                }
            }
        }
        self.0[token..].iter().all(|token| *token == Token::Any)
    }
}

impl Token {
    fn accepts(&self, character: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Class { is_negated, ranges } => {
                let is_in = ranges.iter().any(|(low, high)| (low..=high).contains(&&character));
                is_in != *is_negated
            }
        }
    }
}

/// The class that begins after `[`, and its length with `]`; none if there is no `]`. A `]` at the
/// beginning belongs to the class.
fn class(rest: &[char]) -> Option<(Token, usize)> {
    let is_negated = rest.first() == Some(&'!');
    let begin = usize::from(is_negated);
    let end = begin + 1 + rest.get(begin + 1..)?.iter().position(|character| *character == ']')?;
    let (mut ranges, mut members) = (Vec::new(), &rest[begin..end]);
    while let [low, rest @ ..] = members {
        members = match rest {
            ['-', high, rest @ ..] => {
                ranges.push((*low, *high));
                rest
            }
            _ => {
                ranges.push((*low, *low));
                rest
            }
        };
    }
    Some((Token::Class { is_negated, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results are those of Python's `fnmatch.fnmatchcase`.
    #[test]
    fn patterns_match_as_in_python() {
        for (pattern, text, expected) in [
            ("foo.*", "foo.1", true),
            ("foo.*", "foo", false),
            ("*", "", true),
            ("*.*.end", "a.b.c.end", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[ab]*", "bcd", true),
            ("[!ab]*", "bcd", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[]x]", "]", true),
            ("[!]x]", "y", true),
            ("[!]x]", "]", false),
            ("[ab", "[ab", true),
            ("[", "[", true),
            ("[]", "[]", true),
            ("a.b", "axb", false),
            ("INFO", "info", false),
            ("[a-]", "-", true),
            ("é?", "éa", true),
            ("[z-a]", "m", false),
            ("**a", "bba", true),
            ("a*b*c", "a1b2b3c4", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }
}
