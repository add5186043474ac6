//! `--memory`: a listener drains a million messages, and its memory is printed every second: it does not
//! grow with the handled messages. Then it handles a hundred large ones slowly, with a hundred slots: it
//! holds as many as the bytes in flight allow.

use std::time::Duration;

use listener::options::ListenerOptions as Defaults;
use tokio::time::sleep;

use crate::Error;
use crate::broker::Broker;
use crate::contender::{CONSUMERS, Contender, Measured, OURS_SLOW, start};
use crate::options::Options;
use crate::tally::memory;

const LARGE: u64 = 100;
const LARGE_MIB: usize = 16;

pub(crate) async fn run(options: &Options) -> Result<(), Error> {
    let messages = options.messages.unwrap_or(1_000_000);
    let ours =
        CONSUMERS.iter().find(|contender| contender.name == "listener").ok_or("no `listener`")?;
    let broker = Broker::start(options.quorum).await?;
    eprintln!("filling the queue with {messages} messages");
    broker.fill(messages).await?;
    let measured = watched(ours, &broker, messages).await?;
    println!(
        "{messages} messages in {:.1} s, {:.0} a second; peak RSS {:.1} MiB\n",
        measured.seconds,
        messages as f64 / measured.seconds,
        mib(measured.peak_rss_kb)
    );
    eprintln!("filling the queue with {LARGE} messages of {LARGE_MIB} MiB");
    broker.fill_large(LARGE, LARGE_MIB << 20).await?;
    let measured = watched(&OURS_SLOW, &broker, LARGE).await?;
    println!(
        "{LARGE} messages of {LARGE_MIB} MiB in {:.1} s, {LARGE} slow concurrent calls; peak RSS \
         {:.1} MiB with {} MiB in flight",
        measured.seconds,
        mib(measured.peak_rss_kb),
        Defaults::default().bytes_in_flight >> 20
    );
    Ok(())
}

/// Runs a contender, and prints its memory every second.
async fn watched(contender: &Contender, broker: &Broker, messages: u64) -> Result<Measured, Error> {
    let started = start(contender, broker, messages)?;
    let pid = started.pid().ok_or("the listener has ended")?.to_string();
    let watch = tokio::spawn(async move {
        println!("| second | RSS, MiB |\n|---|---|");
        for second in 1.. {
            sleep(Duration::from_secs(1)).await;
            // It has ended, or is about to.
            let Ok(kib) = memory(&pid, "VmRSS:") else { break };
            println!("| {second} | {:.1} |", mib(kib));
        }
    });
    let measured = started.measured().await?;
    watch.abort();
    broker.holds(0).await?;
    Ok(measured)
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
