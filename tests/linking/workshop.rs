//! Copies the workspace `users` into the target directory, builds its programs there offline and with
//! the versions of our Cargo.lock, and runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, PoisonError};

/// How programs are built.
pub(crate) struct Profile {
    pub(crate) options: &'static [&'static str],
}

pub(crate) const DEV: Profile = Profile { options: &[] };

pub(crate) const INVOICES: &str = "billing::Invoices";
pub(crate) const REFUNDS: &str = "billing::deep::Refunds";

/// Asserts that the programs have the same endpoints however they are linked: one without its own
/// endpoints, so that no code refers to the library, and one with both.
#[track_caller]
pub(crate) fn check_endpoints(profile: &Profile) {
    build(profile, &["library", "both"]);
    assert_eq!(run(profile, "library"), [INVOICES, REFUNDS]);
    assert_eq!(run(profile, "both"), [INVOICES, REFUNDS, "both::Counter"]);
}

/// One build at a time, because all write to the same directory.
static BENCH: Mutex<()> = Mutex::new(());

/// The copy of the workspace `users`. Its build output is kept, so a second run is fast.
static USERS: LazyLock<PathBuf> = LazyLock::new(|| {
    let users = folder().join("users");
    copy(&here().join("linking/users"), &users);
    for manifest in ["Cargo.toml", "renamed/Cargo.toml"] {
        let written = users.join(manifest);
        let text = fs::read_to_string(&written).unwrap();
        let ours = format!("path = \"{}\"", root().join("listener").display());
        let text = text.replace("path = \"../../../../listener\"", &ours);
        fs::write(&written, text.replace("path = \"../../../listener\"", &ours)).unwrap();
    }
    fs::copy(root().join("Cargo.lock"), users.join("Cargo.lock")).unwrap();
    users
});

/// Builds these programs in parallel: each is optimised by one thread.
#[track_caller]
fn build(profile: &Profile, programs: &[&str]) {
    let _bench = BENCH.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cargo = cargo("build", &USERS);
    cargo.arg("--quiet").args(profile.options);
    cargo.args(programs.iter().flat_map(|program| ["--bin", program]));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// The lines that the program prints.
#[track_caller]
pub(crate) fn run(profile: &Profile, program: &str) -> Vec<String> {
    run_with(profile, program, &[])
}

/// Like `run`, with further options for Cargo.
#[track_caller]
pub(crate) fn run_with(profile: &Profile, program: &str, options: &[&str]) -> Vec<String> {
    let _bench = BENCH.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cargo = cargo("run", &USERS);
    cargo.args(["--quiet", "--bin", program]).args(profile.options).args(options);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{program}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Cargo's error for a program that depends on this version of `listener` and on the next.
#[track_caller]
pub(crate) fn two_registries() -> String {
    let next = folder().join("next");
    for member in ["listener", "listener-macros"] {
        copy(&root().join(member), &next.join(member));
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest = manifest.replace("0.1.0", "0.2.0");
    let members = |line: &str| match line.starts_with("members = ") {
        true => "members = [\"listener\", \"listener-macros\"]\n".to_owned(),
        false => format!("{line}\n"),
    };
    let manifest: String = manifest.lines().map(members).collect();
    fs::write(next.join("Cargo.toml"), manifest).unwrap();

    let program = folder().join("two");
    fs::create_dir_all(program.join("src")).unwrap();
    fs::write(program.join("src/main.rs"), "fn main() {}\n").unwrap();
    let dependency =
        |path: &Path| format!("path = {:?}, default-features = false", path.join("listener"));
    let manifest = format!(
        "[package]\nname = \"two\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         listener = {{ {} }}\nnext = {{ package = \"listener\", {} }}\n",
        dependency(&root()),
        dependency(&next),
    );
    fs::write(program.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root().join("Cargo.lock"), program.join("Cargo.lock")).unwrap();

    let output = cargo("build", &program).output().unwrap();
    assert!(!output.status.success(), "two versions of listener were built into one program");
    stderr(&output)
}

fn cargo(command: &str, workspace: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The environment of this test's build does not apply to them.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(variable);
    }
    cargo.args([command, "--offline"]).current_dir(workspace);
    cargo.env("CARGO_TARGET_DIR", folder().join("target"));
    cargo
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The folder of the copies and their build output.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("linking")
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn root() -> PathBuf {
    here().parent().unwrap().to_path_buf()
}

/// Copies a folder; unchanged files keep their modification time, so that Cargo does not rebuild them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            if entry.file_name() != "target" {
                copy(&path, &target);
            }
        } else if fs::read(&path).ok() != fs::read(&target).ok() {
            fs::copy(&path, &target).unwrap();
        }
    }
}
