//! What an error shows. Of a text from outside: a word that somebody may have misspelt, and
//! nothing that looks as a secret or a whole document does; asked wherever an error quotes, by
//! `config.rs`, `envelope` and the drivers. And as `Debug`: its message.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Makes `Debug` print the message of an error: that is what `main` shows of an error that it
/// returns, also within `Box<dyn Error>`, and what `unwrap` does.
macro_rules! debug_is_the_message {
    ($($error:ty),+) => {
        $(
            impl ::std::fmt::Debug for $error {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    ::std::fmt::Display::fmt(self, f)
                }
            }
        )+
    };
}

/// So many bytes of an error are kept and logged, and of a list of names.
pub(crate) const LONGEST_ERROR: usize = 2048;

/// As much of a text as so many bytes hold.
pub(crate) fn shortened(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The text of an error, no longer than may be logged.
pub(crate) fn error_text(error: &(impl fmt::Display + ?Sized)) -> String {
    let mut text = error.to_string();
    text.truncate(shortened(&text, LONGEST_ERROR).len());
    text
}

/// So many bytes of a text are shown.
const LONGEST: usize = 64;

/// The text itself if it is short and plain, else how long it is.
///
/// Plain are ASCII letters and digits, spaces, and what stands in names, numbers, paths and
/// content types. Neither a URL with a password in it nor JSON is plain.
pub(crate) fn shown(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" _-.,;=+/".contains(&byte);
    if text.len() <= LONGEST && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("..({} bytes, not shown)", text.len())
    }
}

/// What a panic said. What it brought is dropped here.
pub(crate) fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let message = panic
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    discard(panic);
    message.map_or_else(|| "a value that is no text".to_owned(), |message| error_text(&message))
}

/// Drops what a panic brought, which may panic in its turn.
pub(crate) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // It could go on like that for ever.
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("short", 10), "short");
        assert_eq!(shortened("123456789é", 10), "123456789");
        assert_eq!(error_text(&"é".repeat(LONGEST_ERROR)).len(), LONGEST_ERROR);
    }

    #[test]
    fn names_numbers_and_content_types_are_shown() {
        for text in ["", "-1.5e3", "rabbit_ha_queues", "text/plain; charset=utf-8", "a, b"] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn what_is_long_or_not_plain_is_counted() {
        assert_eq!(shown("rabbit://u:secret@h"), "..(19 bytes, not shown)");
        assert_eq!(shown("{\"a\": 1}"), "..(8 bytes, not shown)");
        assert_eq!(shown("two\nlines"), "..(9 bytes, not shown)");
        assert_eq!(shown(&"a".repeat(65)), "..(65 bytes, not shown)");
    }
}
