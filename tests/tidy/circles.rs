//! Circles between files of one module, which the table in `layers.rs` does not see: files that
//! import each other, directly or through others, and inherent impls in another file than the
//! one of their type, by which a file uses another without importing it.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::TokenTree;

use crate::reader::{self, Found, Visitor, is_word, module};
use crate::tree::{self, File};

/// An inherent impl by which an upper module completes the type of a lower one: what it needs is above
/// the type's module.
const COMPLETED: &[(&str, &str)] = &[
    // `Transport::open` has to name all drivers.
    ("drivers/mod.rs", "Transport"),
    // `NotifierBuilder::build` makes a `Notifier`, which has a function that makes the builder.
    ("notifier/mod.rs", "NotifierBuilder"),
    // `ListenerBuilder::build` makes a `Listener`, in the same way.
    ("runtime/mod.rs", "ListenerBuilder"),
    // `ListenerBuilder::configured` needs the configuration, and `transport_url` the drivers.
    ("listen.rs", "ListenerBuilder"),
    // `RabbitOptions::from_url` reads what URLs may say, which fills in the options.
    ("drivers/rabbit/query.rs", "RabbitOptions"),
];

/// What a file uses and defines.
#[derive(Debug, Default)]
struct Uses {
    /// Paths into the crate, without the re-exports of its own modules.
    paths: Vec<Vec<String>>,
    /// The types of inherent impls, with their lines.
    inherent: Vec<(String, usize)>,
    /// The names that it defines.
    defined: BTreeSet<String>,
    module: Vec<String>,
}

impl Visitor for Uses {
    fn path(&mut self, found: &Found<'_>) {
        let opens_a_module = found.is_exported && found.path.starts_with(&self.module);
        if !opens_a_module {
            self.paths.push(found.path.to_vec());
        }
    }

    fn token(&mut self, tokens: &[TokenTree], at: usize) {
        let kinds = ["struct", "enum", "union", "trait", "type"];
        if kinds.iter().any(|kind| is_word(tokens.get(at), kind))
            && let Some(TokenTree::Ident(name)) = tokens.get(at + 1)
        {
            self.defined.insert(name.to_string());
        }
    }

    fn inherent_impl(&mut self, name: &str, line: usize) {
        self.inherent.push((name.to_owned(), line));
    }
}

fn uses(file: &File) -> Uses {
    let mut uses = Uses { module: module(&file.path), ..Uses::default() };
    reader::read(&file.path, &file.text, &mut uses);
    uses
}

/// The circles among these files, each as its files in order.
fn circles(files: &[File]) -> Vec<Vec<&str>> {
    let by_module: BTreeMap<Vec<String>, &str> =
        files.iter().map(|file| (module(&file.path), file.path.as_str())).collect();
    let imported = |path: &[String]| {
        (1..=path.len()).rev().find_map(|length| by_module.get(&path[..length]).copied())
    };
    let imports: BTreeMap<&str, BTreeSet<&str>> = files
        .iter()
        .map(|file| {
            let imports = uses(file).paths.iter().filter_map(|path| imported(path)).collect();
            (file.path.as_str(), imports)
        })
        .collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|file| (*file, reached(file, &imports))).collect();
    let mut circles: Vec<Vec<&str>> = reached
        .iter()
        .map(|(file, others)| {
            let meets = |other: &&&str| **other != *file && reached[**other].contains(file);
            let others = others.iter().filter(meets).copied();
            others.chain([*file]).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        })
        .filter(|circle| circle.len() > 1)
        .collect();
    circles.sort();
    circles.dedup();
    circles
}

/// Every file that `from` imports, directly or through others.
fn reached<'f>(from: &str, imports: &BTreeMap<&'f str, BTreeSet<&'f str>>) -> BTreeSet<&'f str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = imports[from].iter().copied().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(imports[file].iter().copied());
        }
    }
    reached
}

/// The inherent impls of a file for types that it does not define.
fn foreign_impls(file: &File) -> Vec<String> {
    let uses = uses(file);
    let is_foreign = |(name, _): &&(String, usize)| {
        !uses.defined.contains(name) && !COMPLETED.contains(&(&file.path, name))
    };
    let foreign = uses.inherent.iter().filter(is_foreign);
    foreign
        .map(|(name, line)| {
            format!("{}:{line}: impl {name}: move it to the file that defines {name}", file.path)
        })
        .collect()
}

fn is_checked(file: &File) -> bool {
    !reader::is_of_tests(&file.path)
}

#[test]
fn no_files_import_each_other() {
    let mut files = tree::sources("listener/src");
    files.retain(is_checked);
    let circles: Vec<String> = circles(&files).iter().map(|files| files.join(", ")).collect();
    assert!(circles.is_empty(), "these files import each other:\n{}\n", circles.join("\n"));
}

#[test]
fn inherent_impls_are_in_the_file_of_their_type() {
    let mut files = tree::sources("listener/src");
    files.retain(is_checked);
    let foreign: Vec<String> = files.iter().flat_map(foreign_impls).collect();
    assert!(foreign.is_empty(), "\n{}\n", foreign.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&[&str]]) {
        let files: Vec<File> = files.iter().map(|(path, text)| file(path, text)).collect();
        assert_eq!(circles(&files), expected);
    }

    #[test]
    fn files_that_import_each_other_are_a_circle() {
        check(
            &[
                ("module/a.rs", "use crate::module::b::B;"),
                ("module/b.rs", "use super::a::A;"),
                ("module/c.rs", "use super::a::A;"),
            ],
            &[&["module/a.rs", "module/b.rs"]],
        );
    }

    #[test]
    fn a_circle_may_be_long() {
        check(
            &[
                ("module/a.rs", "use super::{x, b::B};"),
                ("module/b.rs", "fn f() -> crate::module::c::C {}"),
                ("module/c.rs", "use crate::module::a;"),
            ],
            &[&["module/a.rs", "module/b.rs", "module/c.rs"]],
        );
    }

    #[test]
    fn a_child_may_not_import_a_parent_that_uses_it() {
        let child = ("module/child.rs", "use crate::module::Parent;");
        let circle: &[&[&str]] = &[&["module/child.rs", "module/mod.rs"]];
        check(&[("module/mod.rs", "mod child; fn f() { child::g() }"), child], circle);
        check(&[("module/mod.rs", "mod child; use self::child::g;"), child], circle);
        check(&[("module/mod.rs", "mod child; use child::g;"), child], circle);
    }

    #[test]
    fn a_parent_that_only_opens_its_children_does_not_use_them() {
        check(
            &[
                (
                    "module/mod.rs",
                    "mod child; pub mod b; pub use child::C; pub(crate) use self::b::{B, D};",
                ),
                ("module/child.rs", "use crate::module::Parent;"),
                ("module/b.rs", "use super::child::C;"),
            ],
            &[],
        );
    }

    #[test]
    fn tests_may_import_in_circles() {
        check(
            &[
                ("module/a.rs", "use crate::module::b::B;"),
                ("module/b.rs", "#[cfg(test)] mod tests { use super::super::a::A; }"),
            ],
            &[],
        );
    }

    #[track_caller]
    fn check_impls(text: &str, expected: &[&str]) {
        assert_eq!(foreign_impls(&file("module/a.rs", text)), expected, "{text}");
    }

    #[test]
    fn an_inherent_impl_in_another_file_is_named() {
        check_impls(
            "use super::B;\n\nimpl<T: Fn() -> u8> B<T> where T: Send { fn f() {} }",
            &["module/a.rs:3: impl B: move it to the file that defines B"],
        );
        check_impls(
            "mod inner { #[must_use] impl super::B {} }",
            &["module/a.rs:1: impl B: move it to the file that defines B"],
        );
    }

    #[test]
    fn impls_of_traits_of_own_types_and_in_types_are_none() {
        check_impls("struct A<T>(T); impl<T> A<T> { fn f(self) -> impl Iterator { g } }", &[]);
        check_impls("impl fmt::Debug for B { fn fmt() {} }", &[]);
        check_impls("fn f(a: impl Fn(), b: Vec<impl Fn()>) -> impl Sized { a }", &[]);
        check_impls("macro_rules! m { ($name:ident) => { impl $name {} } }", &[]);
        check_impls("#[cfg(test)] impl B {}", &[]);
    }
}
