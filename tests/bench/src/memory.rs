//! `--memory`: a listener drains a million messages, and its memory is looked at each second. What
//! it holds does not grow with what it has handled.

use std::time::Duration;

use tokio::time::sleep;

use crate::Error;
use crate::broker::Broker;
use crate::contender::{CONSUMERS, start};
use crate::options::Options;
use crate::tally::memory;

pub(crate) async fn run(options: &Options) -> Result<(), Error> {
    let messages = options.messages.unwrap_or(1_000_000);
    let ours = CONSUMERS.iter().find(|contender| contender.name == "ours").ok_or("no `ours`")?;
    let broker = Broker::start(options.quorum).await?;
    eprintln!("filling the queue with {messages} messages");
    broker.fill(messages).await?;
    let started = start(ours, &broker, messages)?;
    let pid = started.pid().ok_or("the listener has ended")?.to_string();
    let watch = tokio::spawn(async move {
        println!("| second | RSS, MiB |\n|---|---|");
        for second in 1.. {
            sleep(Duration::from_secs(1)).await;
            // It has ended, or is about to.
            let Ok(kib) = memory(&pid, "VmRSS:") else { break };
            println!("| {second} | {:.1} |", kib as f64 / 1024.0);
        }
    });
    let measured = started.measured().await?;
    watch.abort();
    broker.holds(0).await?;
    println!(
        "{messages} messages in {:.1} s, {:.0} a second; peak RSS {:.1} MiB",
        measured.seconds,
        messages as f64 / measured.seconds,
        measured.peak_rss_kb as f64 / 1024.0
    );
    Ok(())
}
