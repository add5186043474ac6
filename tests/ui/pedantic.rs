//! A user's crate has no clippy warnings, even with all pedantic lints: the macro prescribes signatures, so
//! clippy must not suggest others. The crate is created for each run, outside of the workspace.

use std::fs;
use std::path::Path;
use std::process::Command;

const MANIFEST: &str = r#"[package]
name = "pedantic"
version = "0.1.0"
edition = "2024"

[workspace]

[dependencies]
listener = { path = "LISTENER", default-features = false, features = ["macros"] }
serde = { version = "1", features = ["derive"] }
"#;

const MAIN: &str = r#"//! A program with each kind of method.
#![forbid(unsafe_code)]

use listener::{Attempt, Context, DeliveryInfo, Endpoint, Metadata, Outcome, Priority, State};
use listener::notification_endpoint;
use serde::Deserialize;

#[derive(Deserialize)]
struct Instance {
    uuid: String,
}

#[derive(Clone, Copy, Default)]
struct Billing;

#[notification_endpoint(
    event_type = r"^instance\.",
    name = "billing",
    retry(attempts = 3, delay = "1s"),
    timeout = "30s",
    ordered_by = "payload.uuid"
)]
impl Billing {
    fn info(&self, payload: Instance, db: State<String>) {
        println!("{} {}", payload.uuid, *db);
    }

    async fn warn(&self, _payload: Option<Instance>) -> Result<(), String> {
        Ok(())
    }

    #[on(error, critical)]
    fn failed(event_type: String, tenant: Option<State<String>>) -> Result<Outcome, String> {
        println!("{event_type} {}", tenant.is_some());
        Ok(Outcome::Handled)
    }

    async fn audit(
        &self,
        ctxt: &Context,
        publisher_id: &str,
        event_type: Option<&str>,
        payload: Instance,
        metadata: &Metadata,
        priority: Priority,
        delivery: &DeliveryInfo,
        attempt: Attempt,
    ) {
        println!("{ctxt:?} {publisher_id} {event_type:?} {} {metadata:?}", payload.uuid);
        println!("{priority} {delivery:?} {attempt:?}");
    }
}

fn main() {
    println!("{}", Billing::DEFINITION.name);
}
"#;

#[test]
fn a_pedantic_crate_has_no_warning() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..");
    // In the target directory, so that its build is cached.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pedantic");
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, text).expect("the crate can be written");
    };
    let listener = root.join("listener");
    write("Cargo.toml", &MANIFEST.replace("LISTENER", &listener.display().to_string()));
    write("src/main.rs", MAIN);
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("the same versions");

    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["clippy", "--quiet", "--offline", "--", "-W", "clippy::pedantic", "-D", "warnings"])
        .args(["-W", "unused_qualifications"])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .current_dir(&folder)
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
