//! The rounds: in each, every contender runs once, with a queue that was filled or emptied for it; each
//! round starts with the next contender. The results go to `table.rs` and `chart.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::Error;
use crate::broker::Broker;
use crate::contender::{Contender, Half, start};
use crate::figures::{Figures, Run, spread};
use crate::notification::number;
use crate::options::Options;
use crate::tally::cpu_of_all;
use crate::{chart, table};

/// The default number of messages of the fastest contenders in a round.
const MESSAGES: u64 = 60_000;

pub(crate) async fn run(options: &Options) -> Result<(), Error> {
    let messages = options.messages.unwrap_or(MESSAGES);
    let broker = Broker::start(options.quorum).await?;
    let mut halves = Vec::new();
    for &half in &options.halves {
        let chosen: Vec<&Contender> = half
            .contenders()
            .iter()
            .filter(|contender| {
                options.only.is_empty() || options.only.iter().any(|name| name == contender.name)
            })
            .collect();
        let mut figures = Figures::new(half, &chosen);
        for round in 0..options.rounds {
            for position in 0..chosen.len() {
                let contender = chosen[(position + round) % chosen.len()];
                let run = one(&broker, contender, messages).await?;
                eprintln!("round {}, {}: {run}", round + 1, contender.name);
                figures.add(contender.name, run);
            }
        }
        if !chosen.is_empty() {
            halves.push(figures);
        }
    }
    let about = about(&broker, options, messages, &halves).await?;
    let markdown = table::markdown(&about, &halves);
    print!("{markdown}");
    let folder = folder(options);
    let kind = if options.quorum { "-quorum" } else { "" };
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("results{kind}.md")), markdown)?;
    fs::write(folder.join(format!("chart{kind}.svg")), chart::svg(&halves))?;
    eprintln!("written to {}", folder.display());
    Ok(())
}

/// Runs one contender once. Fails if it did not do all of its work.
async fn one(broker: &Broker, contender: &Contender, messages: u64) -> Result<Run, Error> {
    let messages = (messages / contender.part).max(100);
    let wrong = |what: String| Error::from(format!("{}: {what}", contender.name));
    match contender.half {
        Half::Consume => broker.fill(messages).await?,
        Half::Publish => broker.purge().await?,
    }
    let begun = Instant::now();
    let (ours, all) = cpu_of_all(&broker.pid()?)?;
    let started = start(contender, broker, messages)?;
    let at = started.at;
    let measured = started.measured().await?;
    let (ours_then, all_then) = cpu_of_all(&broker.pid()?)?;
    let others = (all_then - all - (ours_then - ours)) / begun.elapsed().as_secs_f64();
    let (left, sum) = match contender.half {
        Half::Consume => (0, (0..messages).map(number).sum()),
        // One more was sent before the measurement.
        Half::Publish => (messages + 1, 0),
    };
    broker.holds(left).await.map_err(|error| wrong(error.to_string()))?;
    if (measured.messages, measured.sum) != (messages, sum) {
        let (found, added) = (measured.messages, measured.sum);
        return Err(wrong(format!(
            "{found} messages with the sum {added}, expected {messages} and {sum}"
        )));
    }
    Ok(Run::new(&measured, at, others.max(0.0)))
}

async fn about(
    broker: &Broker,
    options: &Options,
    messages: u64,
    halves: &[Figures],
) -> Result<String, Error> {
    let others: Vec<f64> = halves.iter().flat_map(Figures::others).collect();
    let others = if others.is_empty() { 0.0 } else { spread(others).median };
    let cores = std::thread::available_parallelism()?;
    let queue = if options.quorum { "quorum" } else { "durable classic" };
    Ok(format!(
        "Medians of {} interleaved rounds, minimum and maximum in brackets. {cores} cores for the broker \
         (RabbitMQ {}), the driver and the contender; one {queue} queue; bodies of {} bytes; \
         {messages} messages for the fastest contenders, fewer for the slow ones. Other processes \
         took {others:.1} cores meanwhile (median).",
        options.rounds,
        broker.version().await,
        broker.body_bytes()?,
    ))
}

fn folder(options: &Options) -> PathBuf {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    match &options.out {
        Some(folder) => folder.clone(),
        None if options.is_whole() => bench.to_owned(),
        None => bench.join("target"),
    }
}
