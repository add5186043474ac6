//! Accounts for each message by its id, like Jepsen's `total-queue`: confirmed messages are handled,
//! dead-lettered or still queued, no others exist, and copies are counted. `fault` fills an `Account`,
//! and stores its result as a `Record`, from which the table is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::amqp::Amqp;
use crate::rabbit_node::RabbitNode;

/// How often each id was found.
pub type Counts = BTreeMap<u64, u32>;

#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The ids sent, with any result.
    pub sent: BTreeSet<u64>,
    pub confirmed: BTreeSet<u64>,
    /// Calls that began.
    pub calls: Counts,
    /// Calls that handled it.
    pub handled: Counts,
    /// In the queues whose names end with `.dead`.
    pub dead: Counts,
    /// In all other queues.
    pub queued: Counts,
}

impl Account {
    /// Confirmed ids that are nowhere.
    pub fn lost(&self) -> BTreeSet<u64> {
        let is_lost = |id: &&u64| self.places().iter().all(|counts| !counts.contains_key(id));
        self.confirmed.iter().filter(is_lost).copied().collect()
    }

    /// Ids that are somewhere, and were never sent.
    pub fn unexpected(&self) -> BTreeSet<u64> {
        let met = self.places().into_iter().flat_map(BTreeMap::keys);
        met.filter(|id| !self.sent.contains(id)).copied().collect()
    }

    /// How many copies there are beyond one for each id: handled again, or handled and still in a queue.
    pub fn duplicates(&self) -> u32 {
        let all: u32 = self.places().iter().flat_map(|counts| counts.values()).sum();
        let ids: BTreeSet<u64> =
            self.places().into_iter().flat_map(BTreeMap::keys).copied().collect();
        all - ids.len() as u32
    }

    /// The most calls for one id.
    pub fn most_calls(&self) -> u32 {
        self.calls.values().copied().max().unwrap_or(0)
    }

    /// Reads the log of a worker: its calls, and the handled ids. A line that is being written has no
    /// end yet.
    pub fn read_log(&mut self, path: &Path) {
        (self.calls, self.handled) = (Counts::new(), Counts::new());
        let log = std::fs::read_to_string(path).unwrap_or_default();
        let (whole, _) = log.rsplit_once('\n').unwrap_or_default();
        for line in whole.lines() {
            let (word, id) = line.split_once(' ').unwrap_or_else(|| panic!("a line {line:?}"));
            let counts = match word {
                "call" => &mut self.calls,
                "done" => &mut self.handled,
                _ => panic!("a line {line:?}"),
            };
            *counts.entry(id.parse().unwrap()).or_default() += 1;
        }
    }

    /// Drains all queues of the virtual host until they are empty. Delayed messages become available
    /// meanwhile.
    pub async fn drain(&mut self, node: &RabbitNode, vhost: &str, url: &str) {
        let amqp = Amqp::connect(url).await;
        loop {
            let mut found = false;
            // A journal keeps its records, and holds no messages.
            let queues = node.queues(vhost).await.into_iter();
            for queue in queues.filter(|queue| !queue.ends_with(".journal")) {
                let is_dead = queue.ends_with(".dead");
                for message in amqp.drain(&queue).await {
                    found = true;
                    let counts = if is_dead { &mut self.dead } else { &mut self.queued };
                    *counts.entry(id_of(&message.delivery.data)).or_default() += 1;
                }
            }
            if !found {
                break;
            }
        }
        amqp.close().await;
    }

    fn places(&self) -> [&Counts; 3] {
        [&self.handled, &self.dead, &self.queued]
    }
}

/// Numbers only; ids only for errors.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {}, confirmed {}, handled {}, dead {}, queued {}, duplicates {}, at most {} calls",
            self.sent.len(),
            self.confirmed.len(),
            self.handled.len(),
            self.dead.len(),
            self.queued.len(),
            self.duplicates(),
            self.most_calls(),
        )?;
        for (what, ids) in [("lost", self.lost()), ("unexpected", self.unexpected())] {
            if !ids.is_empty() {
                let first: Vec<_> = ids.iter().take(20).collect();
                write!(f, "; {what} {}: {first:?}", ids.len())?;
            }
        }
        Ok(())
    }
}

/// The id in a body: that of the job in the envelope, or the last number in another body.
pub fn id_of(body: &[u8]) -> u64 {
    let envelope: Option<Value> = serde_json::from_slice(body).ok();
    let inner = envelope.as_ref().and_then(|envelope| envelope["oslo.message"].as_str());
    let message: Option<Value> = inner.and_then(|inner| serde_json::from_str(inner).ok());
    let in_job = message.or(envelope).and_then(|message| message["payload"]["id"].as_u64());
    in_job.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        let mut numbers = text.rsplit(|letter: char| !letter.is_ascii_digit());
        let last = numbers.find(|number| !number.is_empty());
        last.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no id in {text:?}"))
    })
}

/// One line of the table of results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Major and minor number of the broker's version.
    pub broker: (u32, u32),
    /// The row in the list of faults.
    pub row: u8,
    /// The fault, in a few words.
    pub fault: String,
    pub sent: usize,
    pub confirmed: usize,
    pub handled: usize,
    pub dead: usize,
    pub queued: usize,
    pub lost: usize,
    pub duplicates: u32,
    /// No more duplicates than this were allowed.
    pub bound: u32,
    /// The most calls for one message.
    pub calls: u32,
    /// From the end of the fault to readiness, in milliseconds.
    pub attached_ms: Option<u64>,
    /// CPU time of the program, and how long it ran.
    pub cpu_ms: u64,
    pub ran_ms: u64,
}

impl Record {
    /// Stores it in `target/fault` for the table; one of the same version, row and fault is overwritten.
    pub fn keep(&self) {
        let name: String = self
            .fault
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
            .collect();
        let (major, minor) = self.broker;
        let folder = folder().join(format!("{major}.{minor}"));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{:02}-{name}.json", self.row));
        std::fs::write(path, serde_json::to_vec(self).unwrap()).unwrap();
    }

    /// All stored records, by row, fault and version.
    pub fn all() -> Vec<Self> {
        let entries = |folder: PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path())
        };
        let files = entries(folder()).filter(|path| path.is_dir()).flat_map(entries);
        let read = |path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut all: Vec<Self> = files.map(read).collect();
        all.sort_by(|a, b| (a.row, &a.fault, a.broker).cmp(&(b.row, &b.fault, b.broker)));
        all
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fault")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_once_it_is_complete() {
        let path = std::env::temp_dir().join(format!("listener-account-{}", std::process::id()));
        let mut account = Account::default();
        for (written, calls, handled) in [
            ("", 0, 0),
            ("call ", 0, 0),
            ("call 1\ndone 1\ncall ", 1, 1),
            ("call 1\ncall 2\n", 2, 0),
        ] {
            std::fs::write(&path, written).unwrap();
            account.read_log(&path);
            assert_eq!((account.calls.len(), account.handled.len()), (calls, handled), "{written}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
