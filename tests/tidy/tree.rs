//! The files of the project, as the other modules ask for them. Hidden folders and build
//! output are not looked into; no git is needed, so new files count too.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the whole project.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("a member has a root").to_path_buf()
}

/// A file of the project.
pub(crate) struct File {
    /// Its path from the folder that was asked for, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All `.rs` files under a folder of the project, sorted by path.
pub(crate) fn sources(folder: &str) -> Vec<File> {
    let base = root().join(folder);
    let mut paths = Vec::new();
    collect(&base, "", &mut paths);
    paths.retain(|path| path.ends_with(".rs"));
    paths.sort();
    paths.into_iter().map(|path| File { text: text(&format!("{folder}/{path}")), path }).collect()
}

/// The entries of a folder of the project, sorted by name.
pub(crate) fn entries(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = visible(&root().join(folder)).map(|(name, _)| name).collect();
    names.sort();
    names
}

/// The text of one file of the project.
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn collect(folder: &Path, prefix: &str, paths: &mut Vec<String>) {
    for (name, path) in visible(folder) {
        let from_base = format!("{prefix}{name}");
        if path.is_dir() {
            collect(&path, &format!("{from_base}/"), paths);
        } else {
            paths.push(from_base);
        }
    }
}

fn visible(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder that can be read").path())
        .map(|path| {
            let name = path.file_name().expect("an entry has a name");
            (name.to_string_lossy().into_owned(), path)
        })
        .filter(|(name, _)| !name.starts_with('.') && name != "target")
}
