//! Which module of `listener` may import which, and what only one module may do: the table and the rules,
//! as data. `reader.rs` finds the imports of a source. `circles.rs` checks imports between the files of a
//! module.

use proc_macro2::TokenTree;

use crate::reader::{self, Found, Visitor, is_path, is_punct, is_word, module};
use crate::tree;

/// A module (a file or folder of `listener/src`) and what it may import apart from itself. From the top
/// down: a module imports only from rows below its own. An import belongs to the longest row that it
/// begins with, so `runtime` does not include `runtime/error`; a name longer than that of a module allows
/// only that part of the module.
const TABLE: &[(&str, &[&str])] = &[
    (
        "lib",
        &[
            "future",
            "guide",
            "__private",
            "listen",
            "runtime",
            "runtime/error",
            "layers",
            "notifier",
            "config",
            "options",
            "options/listener",
            "options/notifier",
            "drivers",
            "dispatch",
            "batch",
            "inbox",
            "transport",
            "endpoint",
            "extract",
            "filter",
            "envelope",
            "serializer",
            "target",
            "order",
            "observer",
            "notification",
            "outcome",
        ],
    ),
    // The dispatch and the drivers only for the tests of this repository.
    (
        "__private",
        &[
            "batch",
            "dispatch",
            "drivers",
            "endpoint",
            "extract",
            "filter",
            "notification",
            "outcome",
        ],
    ),
    // `Transport::open` is in the drivers, and is imported with `transport`.
    ("listen", &["runtime", "runtime/error", "config", "options/listener", "transport"]),
    // Never the drivers, nor the code that opens them.
    (
        "runtime",
        &[
            "runtime/error",
            "options",
            "options/listener",
            "dispatch",
            "batch",
            "observer",
            "order",
            "inbox",
            "transport",
            "endpoint",
            "extract",
            "filter",
            "envelope",
            "serializer",
            "target",
            "notification",
            "outcome",
            "redact",
        ],
    ),
    // The error that `main` returns wraps those of the stages, that of the configuration included.
    ("runtime/error", &["config", "transport", "endpoint", "outcome", "redact"]),
    ("layers", &["notifier", "transport", "notification"]),
    (
        "notifier",
        &[
            "future",
            "options",
            "options/notifier",
            "transport",
            "envelope",
            "serializer",
            "target",
            "notification",
            "outcome",
        ],
    ),
    ("config", &["options", "options/listener", "transport", "target", "redact"]),
    // Options have values of other modules.
    ("options/listener", &["options", "endpoint", "envelope", "order", "target"]),
    ("options/notifier", &["options", "envelope"]),
    // The only module that names all drivers; they do not import each other.
    ("drivers", &["drivers/memory", "drivers/rabbit", "transport", "redact"]),
    ("drivers/memory", &["future", "transport", "notification/delivery_info", "redact"]),
    // The submodules of the RabbitMQ driver. Consuming and publishing do not know each other.
    (
        "drivers/rabbit",
        &[
            "drivers/rabbit/consuming",
            "drivers/rabbit/publishing",
            "drivers/rabbit/connection/link",
            "drivers/rabbit/core",
            "drivers/rabbit/connection/io",
            "drivers/rabbit/query",
            "drivers/rabbit/section",
            "drivers/rabbit/wire",
            "drivers/rabbit/workarounds",
            "drivers/rabbit/options",
            "future",
            "options",
            "redact",
            "transport",
        ],
    ),
    (
        "drivers/rabbit/consuming",
        &[
            "drivers/rabbit/topology",
            "drivers/rabbit/connection",
            "drivers/rabbit/core",
            "drivers/rabbit/connection/hosts",
            "drivers/rabbit/topology/properties",
            "drivers/rabbit/wire",
            "drivers/rabbit/workarounds",
            "drivers/rabbit/options",
            "future",
            "transport",
            "notification/delivery_info",
        ],
    ),
    (
        "drivers/rabbit/publishing",
        &[
            "drivers/rabbit/topology",
            "drivers/rabbit/connection",
            "drivers/rabbit/core",
            "drivers/rabbit/connection/hosts",
            "drivers/rabbit/connection/io",
            "drivers/rabbit/wire",
            "drivers/rabbit/workarounds",
            "drivers/rabbit/options",
            "transport",
        ],
    ),
    // The names of shared queues are made in `target`.
    (
        "drivers/rabbit/topology",
        &[
            "drivers/rabbit/connection",
            "drivers/rabbit/core",
            "drivers/rabbit/connection/hosts",
            "drivers/rabbit/topology/broker_state",
            "drivers/rabbit/topology/properties",
            "drivers/rabbit/wire",
            "drivers/rabbit/options",
            "transport",
            "notification/priority",
            "target",
        ],
    ),
    (
        "drivers/rabbit/connection",
        &[
            "drivers/rabbit/core",
            "drivers/rabbit/connection/hosts",
            "drivers/rabbit/workarounds",
            "drivers/rabbit/options",
            "transport",
            "redact",
        ],
    ),
    // What all submodules share is below all of them, with the few files that it consists of.
    (
        "drivers/rabbit/core",
        &[
            "drivers/rabbit/connection/hosts",
            "drivers/rabbit/connection/io",
            "drivers/rabbit/topology/broker_state",
            "drivers/rabbit/options",
            "transport",
        ],
    ),
    ("drivers/rabbit/connection/hosts", &["drivers/rabbit/options", "transport"]),
    ("drivers/rabbit/connection/io", &[]),
    ("drivers/rabbit/topology/broker_state", &["drivers/rabbit/topology/properties"]),
    ("drivers/rabbit/topology/properties", &[]),
    ("drivers/rabbit/section", &["drivers/rabbit/query", "drivers/rabbit/options", "transport"]),
    ("drivers/rabbit/query", &["drivers/rabbit/options", "options", "transport", "redact"]),
    ("drivers/rabbit/wire", &["drivers/rabbit/workarounds", "transport"]),
    ("drivers/rabbit/workarounds", &["drivers/rabbit/options"]),
    ("drivers/rabbit/options", &["options"]),
    // Never the transport or the envelope: dispatch knows notifications, not deliveries.
    (
        "dispatch",
        &["batch", "endpoint", "filter", "order", "target", "notification", "outcome", "redact"],
    ),
    ("inbox", &["future", "outcome"]),
    ("observer", &["notification/delivery_info", "redact"]),
    ("order", &["notification"]),
    // A delivery is raw: of `notification`, only the delivery info.
    ("transport", &["future", "notification/delivery_info"]),
    ("endpoint", &["batch", "extract", "filter", "target", "notification", "outcome"]),
    ("batch", &["extract", "notification", "outcome"]),
    ("extract", &["notification", "outcome"]),
    ("filter", &["notification", "redact"]),
    ("envelope", &["notification", "options", "redact"]),
    ("serializer", &["notification", "outcome"]),
    ("target", &["notification/priority", "redact"]),
    ("outcome", &["notification", "redact"]),
    ("notification", &[]),
    ("link", &[]),
    // How options are declared and read.
    ("options", &["redact"]),
    ("redact", &[]),
    ("setters", &[]),
    ("future", &[]),
    // Pages without code.
    ("guide", &[]),
];

/// What only these modules or files may do.
struct Only {
    files: &'static [&'static str],
    rule: &'static str,
}

const LAPIN: Only = Only { files: &["drivers/rabbit"], rule: "only drivers/rabbit names lapin" };

const WIRE_NAMES: Only =
    Only { files: &["envelope"], rule: "only envelope names oslo.version and oslo.message" };

const SETTLE: Only = Only {
    files: &[
        "runtime/settle/settlement",
        // `Delivery::settle` passes the settlement to its driver there.
        "transport/delivery",
        "drivers",
    ],
    rule: "only runtime/settle/settlement.rs and the drivers settle",
};

const OPEN: Only = Only {
    // The configuration only checks the URL.
    files: &["listen", "config", "drivers"],
    rule: "only listen.rs opens transports by their URL",
};

const UNSAFE: Only = Only { files: &[], rule: "no unsafe code" };

/// Everything in a file of `listener/src` that breaks the table or a rule, as
/// `file:line: what: rule`.
fn breaches(path: &str, text: &str) -> Vec<String> {
    let file = module(path);
    let Some(module) = module_of_path(&file) else {
        return vec![format!(
            "{path}: no row of the table in tests/tidy/layers.rs is about this file"
        )];
    };
    let mut checker = Checker { path, module, breaches: Vec::new() };
    reader::read(path, text, &mut checker);
    checker.breaches
}

/// The row that a path of modules belongs to: the longest that it begins with.
fn module_of_path(segments: &[String]) -> Option<&'static str> {
    let modules = TABLE.iter().map(|(module, _)| *module);
    modules.filter(|module| begins_with(segments, module)).max_by_key(|module| module.len())
}

fn begins_with(segments: &[String], module: &str) -> bool {
    let mut segments = segments.iter();
    module.split('/').all(|name| segments.next().is_some_and(|segment| segment == name))
}

/// Collects the breaches in one file.
struct Checker<'f> {
    path: &'f str,
    module: &'static str,
    breaches: Vec<String>,
}

impl Visitor for Checker<'_> {
    fn path(&mut self, found: &Found<'_>) {
        let (path, line, file) = (found.path, found.line, self.path);
        let written = ["crate"]
            .into_iter()
            .chain(path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join("::");
        let Some(target) = module_of_path(path).filter(|module| *module != "lib") else {
            if self.module != "lib" || path.is_empty() {
                self.breaches.push(format!(
                    "{file}:{line}: {written}: import it from the module that defines it, not through lib.rs"
                ));
            }
            return;
        };
        let may = may_import(self.module);
        let allowed = target == self.module
            || may.iter().any(|allowed| {
                *allowed == target || (allowed.len() > target.len() && begins_with(path, allowed))
            });
        if !allowed {
            let module = self.module;
            let may = if may.is_empty() { "nothing".to_owned() } else { may.join(", ") };
            self.breaches.push(format!(
                "{file}:{line}: {written}: {module} may import {may}; see the table in tests/tidy/layers.rs"
            ));
        }
    }

    fn token(&mut self, tokens: &[TokenTree], at: usize) {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "lapin" => self.hold_to(&LAPIN, &tokens[at]),
            TokenTree::Ident(word) if word == "unsafe" => self.hold_to(&UNSAFE, &tokens[at]),
            TokenTree::Ident(word) if word == "open" => {
                if at > 2 && is_word(tokens.get(at - 3), "Transport") && is_path(tokens, at - 2) {
                    self.hold_to(&OPEN, &tokens[at]);
                }
            }
            TokenTree::Ident(word) if settles(&word.to_string()) => {
                let called = matches!(tokens.get(at + 1), Some(TokenTree::Group(_)));
                let of_something = at > 0 && is_punct(tokens.get(at - 1), '.');
                let owners = ["Delivery", "Settler"];
                let is_owned =
                    at > 2 && owners.iter().any(|owner| is_word(tokens.get(at - 3), owner));
                if (of_something && called) || (is_owned && is_path(tokens, at - 2)) {
                    self.hold_to(&SETTLE, &tokens[at]);
                }
            }
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if ["oslo.version", "oslo.message"].iter().any(|name| text.contains(name)) {
                    self.hold_to(&WIRE_NAMES, &tokens[at]);
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Group(_) => {}
        }
    }
}

impl Checker<'_> {
    fn hold_to(&mut self, only: &Only, token: &TokenTree) {
        let file = module(self.path);
        if !only.files.iter().any(|allowed| begins_with(&file, allowed)) {
            let line = token.span().start().line;
            self.breaches.push(format!("{}:{line}: {token}: {}", self.path, only.rule));
        }
    }
}

/// Whether a method of this name settles: `settle`, and names that begin with `settle_`.
fn settles(method: &str) -> bool {
    method == "settle" || method.starts_with("settle_")
}

fn may_import(module: &str) -> &'static [&'static str] {
    let row = TABLE.iter().find(|(name, _)| *name == module);
    row.map_or(&[], |(_, may)| may)
}

#[test]
fn each_module_imports_what_the_table_allows() {
    let breaches: Vec<String> = tree::sources("listener/src")
        .iter()
        .filter(|file| !reader::is_of_tests(&file.path))
        .flat_map(|file| breaches(&file.path, &file.text))
        .collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn the_table_allows_only_modules_below() {
    for (row, (importing, may)) in TABLE.iter().enumerate() {
        for allowed in *may {
            let segments = module(allowed);
            let target = module_of_path(&segments);
            let below = TABLE.iter().skip(row + 1).any(|(name, _)| Some(*name) == target);
            assert!(below, "{importing} may import {allowed}, which is not below it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(breaches(path, text), expected, "{text}");
    }

    #[test]
    fn an_import_from_above_is_reported_with_file_line_and_rule() {
        check(
            "filter.rs",
            "//! A filter.\n\nuse crate::notification::Notification;\nuse crate::runtime::Listener;\n",
            &[
                "filter.rs:4: crate::runtime::Listener: filter may import notification, redact; see the table in tests/tidy/layers.rs",
            ],
        );
        check(
            "notification/mod.rs",
            "use crate::target::Target;",
            &[
                "notification/mod.rs:1: crate::target::Target: notification may import nothing; see the table in tests/tidy/layers.rs",
            ],
        );
    }

    #[test]
    fn each_name_of_a_list_is_checked() {
        check(
            "target.rs",
            "use crate::{\n    notification::{priority::Priority, context::{self, Context}},\n    filter::*,\n};",
            &[
                "target.rs:2: crate::notification::context: target may import notification/priority, redact; see the table in tests/tidy/layers.rs",
                "target.rs:2: crate::notification::context::Context: target may import notification/priority, redact; see the table in tests/tidy/layers.rs",
                "target.rs:3: crate::filter: target may import notification/priority, redact; see the table in tests/tidy/layers.rs",
            ],
        );
    }

    #[test]
    fn a_path_in_an_expression_or_a_macro_counts() {
        let rule = "filter may import notification, redact; see the table in tests/tidy/layers.rs";
        check(
            "filter.rs",
            "fn f() { crate::envelope::read::<u8>(x); }",
            &[&format!("filter.rs:1: crate::envelope::read: {rule}")],
        );
        check(
            "filter.rs",
            "macro_rules! m { () => { $crate::target::routing_key() } }",
            &[&format!("filter.rs:1: crate::target::routing_key: {rule}")],
        );
    }

    #[test]
    fn relative_paths_are_followed() {
        check("drivers/rabbit/connection/link.rs", "use super::dial::dial;", &[]);
        check("drivers/rabbit/connection/link.rs", "use super::super::connection::dial;", &[]);
        check("envelope/mod.rs", "pub use self::write::encode;", &[]);
        check(
            "drivers/memory/bus.rs",
            "mod inner { use super::super::super::rabbit::Rabbit; }",
            &[
                "drivers/memory/bus.rs:1: crate::drivers::rabbit::Rabbit: drivers/memory may import future, transport, notification/delivery_info, redact; see the table in tests/tidy/layers.rs",
            ],
        );
    }

    #[test]
    fn a_part_of_a_module_can_be_allowed() {
        check(
            "transport/delivery.rs",
            "use crate::notification::delivery_info::DeliveryInfo;",
            &[],
        );
        check(
            "transport/delivery.rs",
            "use crate::notification::Notification;",
            &[
                "transport/delivery.rs:1: crate::notification::Notification: transport may import future, notification/delivery_info; see the table in tests/tidy/layers.rs",
            ],
        );
        check(
            "runtime/worker.rs",
            "use crate::drivers::memory::Memory;",
            &[
                "runtime/worker.rs:1: crate::drivers::memory::Memory: runtime may import runtime/error, options, options/listener, dispatch, batch, observer, order, inbox, transport, endpoint, extract, filter, envelope, serializer, target, notification, outcome, redact; see the table in tests/tidy/layers.rs",
            ],
        );
    }

    #[test]
    fn the_submodules_of_a_driver_are_modules_of_their_own() {
        let wire = "drivers/rabbit/wire may import drivers/rabbit/workarounds, transport; see the table in tests/tidy/layers.rs";
        for (file, import, is_breach) in [
            (
                "consuming/session.rs",
                "use crate::drivers::rabbit::topology::copy_permissions;",
                false,
            ),
            ("consuming/settlements.rs", "use crate::drivers::rabbit::publishing::message;", true),
            ("publishing/journal.rs", "use crate::drivers::rabbit::consuming::settlements;", true),
            (
                "topology/copy_permissions.rs",
                "use crate::drivers::rabbit::publishing::message;",
                true,
            ),
            ("connection/link.rs", "use crate::drivers::rabbit::topology::channel;", true),
            ("connection/link.rs", "use crate::drivers::rabbit::Rabbit;", true),
            ("core.rs", "use super::topology::broker_state::Known;", false),
            ("core.rs", "use super::topology::survey::Survey;", true),
            ("core.rs", "use super::connection::link::Link;", true),
            ("topology/broker_state.rs", "use super::survey::Survey;", true),
        ] {
            let found = breaches(&format!("drivers/rabbit/{file}"), import);
            assert_eq!(!found.is_empty(), is_breach, "{file}: {import}: {found:?}");
        }
        check(
            "drivers/rabbit/wire.rs",
            "use super::connection::refusal;",
            &[&format!(
                "drivers/rabbit/wire.rs:1: crate::drivers::rabbit::connection::refusal: {wire}"
            )],
        );
    }

    #[test]
    fn no_module_imports_through_lib() {
        check(
            "notifier/mod.rs",
            "use crate::Transport;\nuse crate::{Target, transport::Transport};\nuse crate::*;",
            &[
                "notifier/mod.rs:1: crate::Transport: import it from the module that defines it, not through lib.rs",
                "notifier/mod.rs:2: crate::Target: import it from the module that defines it, not through lib.rs",
                "notifier/mod.rs:3: crate: import it from the module that defines it, not through lib.rs",
            ],
        );
        check("lib.rs", "pub use crate::target::Target;", &[]);
    }

    #[test]
    fn only_one_module_names_lapin_and_the_wire() {
        check("drivers/rabbit/connection/link.rs", "use lapin::Channel;", &[]);
        check(
            "transport/error.rs",
            "pub struct E(\n    lapin::Error,\n);",
            &["transport/error.rs:2: lapin: only drivers/rabbit names lapin"],
        );
        check("envelope/v2.rs", r#"const V: &str = "oslo.version";"#, &[]);
        check(
            "notifier/send.rs",
            r##"const V: &str = r#"{"oslo.message": 1}"#;"##,
            &[
                r##"notifier/send.rs:1: r#"{"oslo.message": 1}"#: only envelope names oslo.version and oslo.message"##,
            ],
        );
    }

    #[test]
    fn only_settle_and_the_drivers_settle() {
        let rule = "only runtime/settle/settlement.rs and the drivers settle";
        check("runtime/settle/settlement.rs", "fn f() { delivery.settle(settle); }", &[]);
        check("drivers/memory/mod.rs", "fn f() { bus.settle(1); }", &[]);
        check(
            "runtime/worker.rs",
            "use crate::runtime::settle;\nfn f() { settle::carry_out(); }\nfn g() { delivery.settle(s); Delivery::settle(d, s); }",
            &[
                &format!("runtime/worker.rs:3: settle: {rule}"),
                &format!("runtime/worker.rs:3: settle: {rule}"),
            ],
        );
        check(
            "runtime/worker.rs",
            "fn f() { delivery.settle_known(s); Settler::settle(x, 1, s); journal.settled(key); }",
            &[
                &format!("runtime/worker.rs:1: settle_known: {rule}"),
                &format!("runtime/worker.rs:1: settle: {rule}"),
            ],
        );
    }

    fn source(path: &str) -> String {
        let mut files = tree::sources("listener/src").into_iter();
        files.find(|file| file.path == path).expect("the file exists").text
    }

    #[test]
    fn the_settlements_of_the_runtime_are_found() {
        let found = breaches("runtime/worker.rs", &source("runtime/settle/settlement.rs"));
        assert!(found.iter().any(|breach| breach.contains(SETTLE.rule)), "{found:?}");
    }

    #[test]
    fn functions_that_settle_have_names_that_begin_with_settle() {
        let text = source("transport/delivery.rs");
        let functions = text.split("#[cfg(test)]").next().unwrap_or_default().split("fn ").skip(1);
        let settling: Vec<&str> = functions
            .filter(|function| function.contains(".settle("))
            .filter_map(|function| function.split(['(', '<']).next())
            .collect();
        assert!(settling.len() > 1, "{settling:?}");
        assert!(settling.iter().all(|name| settles(name)), "{settling:?}");
    }

    #[test]
    fn only_listen_opens_transports() {
        check("listen.rs", "fn f() { Transport::open(url); }", &[]);
        check(
            "runtime/builder.rs",
            "fn f() { envelope::open(b); Transport::open(url); }",
            &["runtime/builder.rs:1: open: only listen.rs opens transports by their URL"],
        );
    }

    #[test]
    fn unsafe_code_is_a_breach_everywhere() {
        check(
            "drivers/rabbit/wire.rs",
            "fn f() { unsafe { g() } }",
            &["drivers/rabbit/wire.rs:1: unsafe: no unsafe code"],
        );
    }

    #[test]
    fn comments_documentation_and_tests_are_exempt() {
        check(
            "filter.rs",
            "//! See crate::runtime and \"oslo.version\".\n\
             // crate::runtime::Listener\n\
             /// use lapin::Channel;\n\
             #[doc = \"oslo.message\"]\n\
             struct Filter;\n\
             #[cfg(test)]\n\
             #[allow(dead_code)]\n\
             mod tests { use crate::runtime::Listener; fn f() { d.settle(s) } }",
            &[],
        );
        check(
            "filter.rs",
            "#[cfg(test)]\nuse crate::runtime::a;\nuse crate::runtime::b;\n#[cfg(not(test))]\nuse crate::runtime::c;",
            &[
                "filter.rs:3: crate::runtime::b: filter may import notification, redact; see the table in tests/tidy/layers.rs",
                "filter.rs:5: crate::runtime::c: filter may import notification, redact; see the table in tests/tidy/layers.rs",
            ],
        );
    }

    #[test]
    fn a_file_without_a_row_is_a_breach() {
        check(
            "util.rs",
            "fn f() {}",
            &["util.rs: no row of the table in tests/tidy/layers.rs is about this file"],
        );
    }
}
