//! Runs the program `service` as a process, as a user would.

use std::collections::BTreeSet;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// How long any expected event may take.
pub(crate) const SOON: Duration = Duration::from_secs(240);

pub(crate) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: Lines<BufReader<ChildStderr>>,
    logged: String,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The unread lines of stdout.
    pub(crate) lines: Vec<String>,
    pub(crate) stderr: String,
}

impl Program {
    /// Starts it with these variables and no others for `listener`.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LISTENER_")) {
            command.env_remove(name);
        }
        let mut child = command
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, log, logged: String::new() }
    }

    pub(crate) async fn line(&mut self) -> String {
        // Its log is read meanwhile: the program would block on a full pipe.
        let line = async {
            loop {
                tokio::select! {
                    line = self.lines.next_line() => return line,
                    Ok(Some(line)) = self.log.next_line() => {
                        self.logged.push_str(&line);
                        self.logged.push('\n');
                    }
                }
            }
        };
        let line = tokio::time::timeout(SOON, line).await;
        line.expect("the program prints nothing").unwrap().expect("the program ended")
    }

    /// Waits until this text is logged.
    pub(crate) async fn logs(&mut self, text: &str) {
        while !self.logged.contains(text) {
            let line = tokio::time::timeout(SOON, self.log.next_line()).await;
            let line = line.expect("it is not logged").unwrap().expect("the program ended");
            self.logged.push_str(&line);
            self.logged.push('\n');
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) async fn ended(mut self) -> Ended {
        tokio::time::timeout(SOON, async {
            // Both are read concurrently: the program would block on a full pipe.
            let printed = async {
                let mut lines = Vec::new();
                while let Some(line) = self.lines.next_line().await.unwrap() {
                    lines.push(line);
                }
                lines
            };
            let logged = async {
                let mut stderr = self.logged;
                while let Some(line) = self.log.next_line().await.unwrap() {
                    stderr.push_str(&line);
                    stderr.push('\n');
                }
                stderr
            };
            let (lines, stderr) = tokio::join!(printed, logged);
            Ended { status: self.child.wait().await.unwrap(), lines, stderr }
        })
        .await
        .expect("the program does not end")
    }
}

/// The numbers of the lines that begin with `word`.
pub(crate) fn numbers(lines: &[String], word: &str) -> BTreeSet<u64> {
    lines.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).collect()
}
