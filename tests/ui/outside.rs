//! A crate outside of the workspace that uses `listener`, as a user's does. `pedantic.rs` runs clippy on it;
//! `Compiler` compiles single files with its dependencies and returns what rustc reports.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use serde_json::Value;

use crate::cases::{Diagnostic, Span};

const MANIFEST: &str = r#"[package]
name = "outside"
version = "0.1.0"
edition = "2024"

[workspace]

[dependencies]
listener = { path = "LISTENER", default-features = false, features = ["macros"] }
serde = { version = "1", features = ["derive"] }
serde_json = { version = "1", features = ["raw_value"] }
tokio = { version = "1", features = ["macros", "rt"] }
"#;

/// Writes the crate with this program, in the target directory, so that its build is cached.
pub(crate) fn write(name: &str, main: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("src")).expect("a folder");
    let listener = root.join("listener").display().to_string();
    write_changed(&folder.join("Cargo.toml"), &MANIFEST.replace("LISTENER", &listener));
    write_changed(&folder.join("src/main.rs"), main);
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("the same versions");
    folder
}

/// A file that is the same is not written, so that cargo does not build it again.
fn write_changed(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|current| current == text) {
        return;
    }
    fs::write(path, text).expect("the crate can be written");
}

/// Cargo, for the crate in this folder, with a target directory that all these crates share.
pub(crate) fn cargo(folder: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside-target");
    command.env("CARGO_TARGET_DIR", target).current_dir(folder);
    command
}

/// rustc, with `listener` and the other dependencies of the crate.
pub(crate) struct Compiler {
    arguments: Vec<OsString>,
    folder: PathBuf,
    unstable: bool,
}

/// A source to compile.
pub(crate) struct Source {
    /// A name for the file of the metadata.
    pub(crate) name: String,
    /// The file, as `--> ` shows it.
    pub(crate) file: PathBuf,
}

impl Compiler {
    /// Builds the dependencies. `name` is that of the folder for what it writes.
    pub(crate) fn new(name: &str) -> Self {
        let folder = write(name, "fn main() {}\n");
        let output = cargo(&folder)
            .args(["check", "--quiet", "--offline", "--message-format=json"])
            .output()
            .expect("cargo runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let mut arguments: Vec<OsString> =
            ["--edition=2024", "--crate-type=bin", "--emit=metadata", "--error-format=json"]
                .map(Into::into)
                .to_vec();
        for (name, file) in artifacts(&String::from_utf8_lossy(&output.stdout)) {
            if ["listener", "serde", "serde_json", "tokio"].contains(&name.as_str()) {
                arguments.extend(["--extern".into(), format!("{name}={}", file.display()).into()]);
                let folder = file.parent().expect("an artifact is in a folder").display();
                arguments.extend(["-L".into(), format!("dependency={folder}").into()]);
            }
        }
        Self { arguments, folder, unstable: false }
    }

    /// With unstable features, for a test of syntax that is not stable.
    pub(crate) fn unstable(self) -> Self {
        Self { unstable: true, ..self }
    }

    /// A file of this name, for a source.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Compiles each source. The errors of each are in the order of their places.
    pub(crate) fn compile(&self, sources: &[Source]) -> Vec<Vec<Diagnostic>> {
        let next = Mutex::new(sources.iter().enumerate());
        let done = Mutex::new(vec![Vec::new(); sources.len()]);
        let work = || {
            while let Some((at, source)) = next.lock().map(|mut next| next.next()).ok().flatten() {
                let errors = self.errors(source);
                done.lock().expect("no thread panics")[at] = errors;
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        done.into_inner().expect("no thread panics")
    }

    fn errors(&self, source: &Source) -> Vec<Diagnostic> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let metadata = self.folder.join(format!("{}.rmeta", source.name));
        let output = Command::new(rustc)
            .args(&self.arguments)
            .envs(self.unstable.then_some(("RUSTC_BOOTSTRAP", "1")))
            .arg("--crate-name=case")
            .arg("-o")
            .arg(metadata)
            .arg(&source.file)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("rustc runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let mut errors: Vec<Diagnostic> = said.lines().filter_map(error).collect();
        assert_eq!(output.status.success(), errors.is_empty(), "{}: {said}", source.name);
        errors.sort_by(|one, other| (&one.span, &one.message).cmp(&(&other.span, &other.message)));
        errors
    }
}

/// The names and files of the libraries that cargo built.
fn artifacts(messages: &str) -> Vec<(String, PathBuf)> {
    let artifact = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        let files = message["filenames"].as_array()?;
        let file = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".rmeta"))?;
        Some((name, PathBuf::from(file)))
    };
    messages.lines().filter_map(artifact).collect()
}

/// The error in a line of rustc's output; `None` for a warning and for the count of errors at the end.
fn error(line: &str) -> Option<Diagnostic> {
    let message: Value = serde_json::from_str(line).ok()?;
    let text = message["message"].as_str()?;
    if message["level"] != "error" || text.starts_with("aborting due to") {
        return None;
    }
    let spans = message["spans"].as_array()?;
    let primary = spans.iter().find(|span| span["is_primary"] == true);
    let number = |span: &Value, field: &str| span[field].as_u64().unwrap_or_default() as usize;
    Some(Diagnostic {
        file: primary.and_then(|span| span["file_name"].as_str()).unwrap_or_default().to_owned(),
        span: primary.map(|span| Span {
            line: number(span, "line_start"),
            from: number(span, "column_start"),
            to: number(span, "column_end").saturating_sub(1),
        }),
        message: text.to_owned(),
        help: None,
    })
}
