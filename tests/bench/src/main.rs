//! The benchmark: `bench` is the driver, `bench contender NAME ..` runs one contender in its own
//! process, so that CPU time and peak memory are only its own. `tests/bench/run` builds and runs it.
//! Options are read in `options.rs`, rounds run in `rounds.rs`.

mod broker;
mod chart;
mod consume;
mod contender;
mod figures;
mod memory;
mod notification;
mod options;
mod publish;
mod rounds;
mod table;
mod tally;

use std::process::ExitCode;

/// Every error ends the benchmark.
type Error = Box<dyn std::error::Error + Send + Sync>;

// The default runtime, as users of `listen()` have it; the contenders run on it, too.
#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == "contender" => contender::run(rest).await,
        _ => drive(&arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn drive(arguments: &[String]) -> Result<(), Error> {
    let options = options::read(arguments)?;
    if options.memory { memory::run(&options).await } else { rounds::run(&options).await }
}
