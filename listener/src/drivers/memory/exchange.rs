//! Topic exchanges: which bindings a routing key matches. The words of a key are separated by dots; in a
//! binding `*` matches one word and `#` any number, as in AMQP 0-9-1.

/// The bindings of one topic exchange.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    bindings: Vec<(String, String)>,
}

impl Exchange {
    /// Binds a queue. An existing binding is not duplicated.
    pub(super) fn bind(&mut self, pattern: &str, queue: &str) {
        let exists = self.bindings.iter().any(|(known, to)| known == pattern && to == queue);
        if !exists {
            self.bindings.push((pattern.to_owned(), queue.to_owned()));
        }
    }

    /// Removes every binding of a deleted queue.
    pub(super) fn unbind(&mut self, queue: &str) {
        self.bindings.retain(|(_, to)| to != queue);
    }

    /// The queues for a message with this key, each once.
    pub(super) fn route(&self, key: &str) -> Vec<String> {
        let mut queues: Vec<String> = Vec::new();
        for (pattern, queue) in &self.bindings {
            if matches(pattern, key) && !queues.contains(queue) {
                queues.push(queue.clone());
            }
        }
        queues
    }
}

fn matches(pattern: &str, key: &str) -> bool {
    if pattern == key {
        return true;
    }
    let pattern: Vec<&str> = pattern.split('.').collect();
    let key: Vec<&str> = key.split('.').collect();
    words_match(&pattern, &key)
}

fn words_match(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => (0..=key.len()).any(|taken| words_match(rest, &key[taken..])),
        (["*", rest @ ..], [_, key @ ..]) => words_match(rest, key),
        ([word, rest @ ..], [first, key @ ..]) => word == first && words_match(rest, key),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, key: &str, expected: bool) {
        assert_eq!(matches(pattern, key), expected, "{pattern} on {key}");
    }

    #[test]
    fn a_plain_key_matches_itself() {
        check("notifications.info", "notifications.info", true);
        check("notifications.info", "notifications.warn", false);
        check("notifications", "notifications.info", false);
    }

    #[test]
    fn a_star_matches_one_word() {
        check("notifications.*", "notifications.info", true);
        check("*.info", "notifications.info", true);
        check("notifications.*", "notifications", false);
        check("notifications.*", "notifications.a.info", false);
    }

    #[test]
    fn a_hash_matches_any_number_of_words() {
        check("#", "notifications.info", true);
        check("notifications.#", "notifications", true);
        check("notifications.#", "notifications.a.info", true);
        check("#.info", "info", true);
        check("a.#.info", "a.b.c.warn", false);
    }

    #[test]
    fn a_queue_with_two_matching_bindings_gets_one_copy() {
        let mut exchange = Exchange::default();
        exchange.bind("notifications.info", "pool");
        exchange.bind("notifications.*", "pool");
        exchange.bind("notifications.info", "notifications.info");
        assert_eq!(exchange.route("notifications.info"), ["pool", "notifications.info"]);
    }
}
