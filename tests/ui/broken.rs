//! While a method is being typed, the attribute adds nothing to what rustc reports: no error of its own, none
//! twice, and none is lost. Each shape is compiled with the attribute and without it.

use std::fs;

use crate::cases::{Diagnostic, Span};
use crate::outside::{Compiler, Source};

/// What a member of the block looks like while it is being typed, or after a slip.
const MEMBERS: &[(&str, &str)] = &[
    ("comma missing between arguments", "async fn info(&self, payload: Pay event_type: &str) {}"),
    ("comma missing after the receiver", "async fn info(&self payload: Pay) {}"),
    ("fn forgotten", "async info(&self, payload: Pay) {}"),
    ("fn and async forgotten", "info(&self, payload: Pay) {}"),
    ("a field in the block", "count: u64,\n    async fn info(&self, payload: Pay) {}"),
    ("a type missing", "async fn info(&self, payload: ) {}"),
    ("a type and its colon missing", "async fn info(&self, payload) {}"),
    ("an open angle bracket", "async fn info(&self, payload: Option<Pay) {}"),
    ("two commas", "async fn info(&self,, payload: Pay) {}"),
    ("a stray let", "let x = 1;\n    async fn info(&self, payload: Pay) {}"),
    ("no body", "async fn info(&self, payload: Pay)"),
    ("a semicolon instead of a body", "async fn info(&self, payload: Pay);"),
    ("a return type missing", "async fn info(&self, payload: Pay) -> {}"),
    ("an arrow half written", "async fn info(&self, payload: Pay) - {}"),
    ("a name missing", "async fn (&self, payload: Pay) {}"),
    ("a bare fn", "fn"),
    ("a bare async", "async"),
    ("a bare async fn", "async fn"),
    ("a name being typed", "async fn inf"),
    ("a name being typed before a method", "async fn inf\n    async fn warn(&self) {}"),
    ("no parentheses", "async fn info {}"),
    ("a word alone", "inf"),
    ("a word before a method", "inf\n    async fn warn(&self) {}"),
    ("a stray semicolon", ";\n    async fn info(&self, payload: Pay) {}"),
    ("a stray comma after a method", "async fn info(&self, payload: Pay) {},"),
    ("an empty attribute", "#[]\n    async fn info(&self, payload: Pay) {}"),
    ("a bare hash", "#\n    async fn info(&self, payload: Pay) {}"),
    ("an attribute without a method", "#[on(info)]"),
    (
        "an attribute of rust without a method",
        "async fn info(&self, payload: Pay) {}\n    #[inline]",
    ),
    ("a doc comment without a method", "async fn info(&self, payload: Pay) {}\n    /// Late."),
    ("a path half written", "async fn info(&self, payload: crate::) {}"),
    ("a reference without a type", "async fn info(&self, payload: &) {}"),
    ("a lifetime without a type", "async fn info(&self, payload: &'a) {}"),
    ("self twice", "async fn info(&self, &self) {}"),
    ("self after an argument", "async fn info(payload: Pay, &self) {}"),
    ("equals instead of colon", "async fn info(&self, payload = Pay) {}"),
    ("a statement in the block", "println!(\"x\");\n    async fn info(&self, payload: Pay) {}"),
    ("an expression in the block", "1 + 1\n    async fn info(&self, payload: Pay) {}"),
    ("a struct in the block", "struct Inner { a: u8 }\n    async fn info(&self, payload: Pay) {}"),
    ("a use in the block", "use std::fmt;\n    async fn info(&self, payload: Pay) {}"),
    ("a visibility alone", "pub\n    async fn info(&self, payload: Pay) {}"),
    ("a visibility at the end", "async fn info(&self, payload: Pay) {}\n    pub"),
    ("a body half written", "async fn info(&self, payload: Pay) { payload. }"),
    ("a body with an open statement", "async fn info(&self, payload: Pay) { let x = }"),
    ("a keyword as a name", "async fn match(&self, payload: Pay) {}"),
    ("a keyword as an argument", "async fn info(&self, type: Pay) {}"),
    ("async after fn", "fn async info(&self, payload: Pay) {}"),
    ("qualifiers in another order", "async pub fn info(&self, payload: Pay) {}"),
    ("a closing generic missing", "async fn info<'a(&self, payload: Pay) {}"),
    ("a default value", "async fn info(&self, payload: Pay = Pay) {}"),
    ("a where without bounds", "async fn info(&self, payload: Pay) where {}"),
    ("a where half written", "async fn info(&self, payload: Pay) where Pay {}"),
    ("a const half written", "const N\n    async fn info(&self, payload: Pay) {}"),
    ("a second block of braces", "async fn info(&self, payload: Pay) {} {}"),
    ("an underscore method", "async fn _(&self, payload: Pay) {}"),
    ("func instead of fn", "async func info(&self, payload: Pay) {}"),
    ("function instead of fn", "function info(&self, payload: Pay) {}"),
    ("def instead of fn", "def info(&self, payload: Pay) {}"),
    ("a type before the name", "async fn info(&self, Pay payload) {}"),
    ("a colon for a return type", "async fn info(&self, payload: Pay): () {}"),
    ("an on half written", "#[on(]\n    async fn info(&self, payload: Pay) {}"),
    ("dots", "async fn info(&self, ..) {}"),
    ("three dots", "async fn info(&self, ...) {}"),
    ("a macro without exclamation", "vec[1]\n    async fn info(&self) {}"),
    ("enum variants", "A, B"),
    ("match arm", "info => {}"),
    ("return self", "async fn info(&self) -> Result<(), {}"),
];

/// Shapes that rustc accepts, by the beginning of their names.
const VALID: &[&str] = &[
    "a visibility alone",
    "a where without bounds",
    "a doc comment without a method, first",
    "an attribute of rust without a method, first",
    "an attribute without a method, first",
];

/// The same for the head of the block.
const HEADS: &[(&str, &str)] = &[
    ("the type missing", "impl {"),
    ("an open generic of the type", "impl Billing<u8 {"),
    ("an open generic of the impl", "impl<T Billing {"),
    ("a where without a bound", "impl Billing where Billing {"),
    ("a for without a type", "impl Default for {"),
    ("a comma after the type", "impl Billing, {"),
];

/// Other code around a broken member: `MEMBER` is the member.
const AROUND: &[(&str, &str)] = &[
    ("alone", "MEMBER"),
    ("last", "#[on(error)]\n    async fn other(&self) {}\n\n    MEMBER"),
    ("first", "MEMBER\n\n    #[on(error, event_type = \"^a\")]\n    async fn other(&self) {}"),
];

/// A shape: its name, and the block from `impl` to its closing brace.
fn shapes() -> Vec<(String, String)> {
    let members = AROUND.iter().flat_map(|(place, around)| {
        MEMBERS.iter().map(move |(name, member)| {
            let body = around.replace("MEMBER", member);
            // Two attributes on one method are an error of ours.
            let body = body.replace("#[on(info)]\n\n    #[on(", "#[inline]\n\n    #[on(");
            (format!("{name}, {place}"), format!("impl Billing {{\n    {body}\n}}"))
        })
    });
    let heads = HEADS.iter().map(|(name, head)| {
        ((*name).to_owned(), format!("{head}\n    async fn info(&self, payload: Pay) {{}}\n}}"))
    });
    members.chain(heads).collect()
}

/// A program with the block. Without our attributes, there are others of rustc's in their places.
fn program(block: &str, attribute: &str) -> String {
    let without = |block: &str| {
        let mut parts = block.split("#[on(error");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            let rest = part.split_once(")]").map_or("", |(_, rest)| rest);
            format!("{text}#[allow(unused)]{rest}")
        })
    };
    let is_ours = attribute.contains("endpoint");
    let block = if is_ours { block.to_owned() } else { without(block) };
    // The endpoint is used: a broken block must not cause errors there.
    let used = if is_ours { "builder().endpoint(Billing)" } else { "builder()" };
    format!(
        "use listener::notification_endpoint;

#[derive(serde::Deserialize)]
struct Pay;

#[derive(Default)]
struct Billing;

{attribute}
{block}

fn main() {{
    let _ = listener::Listener::{used};
}}
"
    )
}

#[test]
fn a_broken_block_has_the_errors_that_it_has_without_the_attribute() {
    let shapes = shapes();
    let compiler = Compiler::new("broken");
    let source = |kind: &str, at: usize, text: &str| {
        let file = compiler.file(&format!("{kind}{at:03}.rs"));
        fs::write(&file, text).expect("the case can be written");
        Source { name: format!("{kind}{at:03}"), file }
    };
    let sources = |kind: &str, attribute: &str| -> Vec<Source> {
        let shapes = shapes.iter().enumerate();
        shapes.map(|(at, (_, block))| source(kind, at, &program(block, attribute))).collect()
    };
    let with = sources("with", "#[notification_endpoint]");
    let without = sources("without", "#[allow(unused)]");
    let (with, without) = (compiler.compile(&with), compiler.compile(&without));
    let errors = |compiled: &[Vec<Diagnostic>], at: usize| {
        let errors = compiled[at].iter();
        errors.map(|error| (error.span.clone(), error.message.clone())).collect::<Vec<Error>>()
    };
    let mut differences = Vec::new();
    for (at, (name, _)) in shapes.iter().enumerate() {
        let (with, without) = (errors(&with, at), errors(&without, at));
        if without.is_empty() != VALID.iter().any(|valid| name.starts_with(valid)) {
            differences.push(format!("{name}: rustc reports {without:?}"));
        }
        if with != without {
            differences.push(format!("{name}:\n  with {with:?}\n  without {without:?}"));
        }
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

type Error = (Option<Span>, String);

/// Syntax of a later edition of Rust: rustc can read it, and the attribute cannot.
#[test]
fn what_only_rustc_can_read_is_an_error() {
    let compiler = Compiler::new("unread").unstable();
    let file = compiler.file("unread.rs");
    let text = "#![feature(gen_blocks)]
use listener::notification_endpoint;
#[derive(Default)]
struct Billing;
#[notification_endpoint]
impl Billing {
    async fn info(&self) {}
    gen fn numbers() -> u8 { yield 1; }
}
fn main() {}
";
    fs::write(&file, text).expect("the case can be written");
    let sources = [Source { name: "unread".to_owned(), file }];
    let compiled = compiler.compile(&sources);
    let lines: Vec<_> =
        compiled[0].iter().map(|error| error.span.as_ref().map(|span| span.line)).collect();
    assert_eq!(lines, [Some(8)], "{:?}", compiled[0]);
}
