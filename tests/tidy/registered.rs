//! Every test is run: each folder of `tests` with a `main.rs` is a `[[test]]`, and names each of its
//! modules. A test that is not registered would never fail.

use crate::tree;

/// The folders with a `main.rs` that the manifest does not name.
fn unregistered(manifest: &str, mains: &[String]) -> Vec<String> {
    let named = |main: &&String| manifest.contains(&format!("\npath = \"{main}\"\n"));
    mains.iter().filter(|main| !named(main)).cloned().collect()
}

/// The files next to a `main.rs` that it does not declare as modules.
fn unnamed(folder: &str, main: &str, files: &[String]) -> Vec<String> {
    files
        .iter()
        .filter_map(|file| file.strip_suffix(".rs"))
        .filter(|module| *module != "main" && !main.contains(&format!("mod {module};")))
        .map(|module| format!("{folder}/{module}.rs"))
        .collect()
}

/// The manifest of `tests`, with those of folders that are separate crates.
fn manifest(folders: &[String]) -> String {
    let own = folders.iter().filter_map(|folder| {
        let path = format!("tests/{folder}/Cargo.toml");
        tree::root()
            .join(&path)
            .exists()
            .then(|| tree::text(&path).replace("\npath = \"", &format!("\npath = \"{folder}/")))
    });
    std::iter::once(tree::text("tests/Cargo.toml")).chain(own).collect()
}

#[test]
fn every_test_folder_is_registered_with_all_its_files() {
    let folders: Vec<String> = tree::entries("tests")
        .into_iter()
        .filter(|folder| tree::root().join("tests").join(folder).join("main.rs").exists())
        .collect();
    assert!(folders.len() >= 9, "too few folders were found: {folders:?}");
    let manifest = manifest(&folders);
    let mains: Vec<String> = folders.iter().map(|folder| format!("{folder}/main.rs")).collect();
    assert_eq!(unregistered(&manifest, &mains), [""; 0]);

    // Programs that a test runs are registered as such, and a build script as that of its crate.
    let programs = |file: &String| {
        manifest.contains(&format!("\npath = \"{file}\"\n"))
            || (file.ends_with("/build.rs") && manifest.contains("\nbuild = \"build.rs\"\n"))
    };
    for folder in &folders {
        let main = tree::text(&format!("tests/{folder}/main.rs"));
        let files = tree::entries(&format!("tests/{folder}"));
        let mut forgotten = unnamed(folder, &main, &files);
        forgotten.retain(|file| !programs(file));
        assert_eq!(forgotten, [""; 0]);
    }
}

#[test]
fn every_suite_with_a_broker_runs_against_each_version_of_it() {
    let script = tree::text("tests/broker.sh");
    let (_, list) = script.split_once("BROKER_SUITES=(").expect("the list of suites");
    let mut listed: Vec<&str> = list.split(')').next().unwrap().split_whitespace().collect();
    listed.sort_unstable();
    let needs = |folder: &String| {
        let has_main = tree::root().join(format!("tests/{folder}/main.rs")).exists();
        let sources = || tree::sources(&format!("tests/{folder}"));
        has_main && sources().iter().any(|file| file.text.contains("ignore = \"needs rabbitmq"))
    };
    let using: Vec<String> = tree::entries("tests").into_iter().filter(needs).collect();
    assert_eq!(listed, using);
}

#[test]
fn a_forgotten_folder_or_file_is_reported() {
    let text = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        unregistered(
            "\n[[test]]\npath = \"flow/main.rs\"\n",
            &text(&["flow/main.rs", "ui/main.rs"])
        ),
        ["ui/main.rs"]
    );
    assert_eq!(
        unnamed("flow", "mod pool;\n", &text(&["main.rs", "pool.rs", "filter.rs", "notes.md"])),
        ["flow/filter.rs"]
    );
}
