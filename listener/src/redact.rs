//! What errors show. Of an untrusted text: plain words that may be misspelt, and nothing that may be a secret
//! or a whole document. `config/`, `envelope` and the drivers use it wherever an error quotes a text. Also
//! the messages of panics, an error with its causes, and the `Debug` of errors.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Makes `Debug` print the message of an error and its causes. `main` shows it for an error that it returns,
/// also in a `Box<dyn Error>`, and `unwrap` does.
macro_rules! debug_is_the_message {
    ($($error:ty),+) => {
        $(
            impl ::std::fmt::Debug for $error {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    ::std::fmt::Display::fmt(&$crate::redact::Chain(self), f)
                }
            }
        )+
    };
}

/// How many causes of an error are examined at most: an error may be its own cause.
pub(crate) const LONGEST_CHAIN: usize = 64;

/// An error and its causes, separated by `: `, each cause once.
pub(crate) struct Chain<'e>(pub(crate) &'e (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let causes = std::iter::successors(self.0.source(), |error| {
            let error: &(dyn Error + 'static) = *error;
            error.source()
        });
        for error in causes.take(LONGEST_CHAIN - 1) {
            let text = error.to_string();
            // Many errors print their cause: do not repeat it.
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
        }
        Ok(())
    }
}

/// How many bytes of an error, or of a list of names, are kept and logged.
pub(crate) const LONGEST_ERROR: usize = 2048;

/// The longest untrusted text in a log line, in bytes, unless it is an error.
pub(crate) const LONGEST_TEXT: usize = 256;

/// The beginning of a text, at most `longest` bytes.
pub(crate) fn shortened(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The text of an error, shortened for logs.
pub(crate) fn error_text(error: &(impl fmt::Display + ?Sized)) -> String {
    let mut text = error.to_string();
    text.truncate(shortened(&text, LONGEST_ERROR).len());
    text
}

/// How many bytes of an untrusted text are shown.
const LONGEST: usize = 64;

/// The text itself if it is short and plain, otherwise its length.
///
/// Plain are ASCII letters and digits, spaces, and the punctuation of names, numbers, paths and content
/// types. A URL with a password is not plain, nor is JSON.
pub(crate) fn redacted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" _-.,;=+/".contains(&byte);
    if text.len() <= LONGEST && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("..({} bytes, not shown)", text.len())
    }
}

/// The message of a panic. Drops its payload.
pub(crate) fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let message = panic
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    discard(panic);
    message.map_or_else(|| "a payload that is not text".to_owned(), |message| error_text(&message))
}

/// Drops the payload of a panic, which may panic again.
pub(crate) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Dropping it could panic without end.
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_error_that_is_its_own_cause_is_printed() {
        #[derive(Debug)]
        struct OfItself(Cell<u32>);

        impl fmt::Display for OfItself {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.set(self.0.get() + 1);
                write!(f, "{}", self.0.get())
            }
        }

        impl Error for OfItself {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(self)
            }
        }

        let text = Chain(&OfItself(Cell::new(100))).to_string();
        assert_eq!(text.split(": ").count(), LONGEST_CHAIN);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("short", 10), "short");
        assert_eq!(shortened("123456789é", 10), "123456789");
        assert_eq!(error_text(&"é".repeat(LONGEST_ERROR)).len(), LONGEST_ERROR);
    }

    #[test]
    fn names_numbers_and_content_types_are_shown() {
        for text in ["", "-1.5e3", "rabbit_ha_queues", "text/plain; charset=utf-8", "a, b"] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn of_long_or_other_texts_only_the_length_is_shown() {
        assert_eq!(redacted("rabbit://u:secret@h"), "..(19 bytes, not shown)");
        assert_eq!(redacted("{\"a\": 1}"), "..(8 bytes, not shown)");
        assert_eq!(redacted("two\nlines"), "..(9 bytes, not shown)");
        assert_eq!(redacted(&"a".repeat(65)), "..(65 bytes, not shown)");
    }
}
