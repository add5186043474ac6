//! The options of the command line. The names of the contenders are in `contender.rs`.

use std::path::PathBuf;

use crate::Error;
use crate::contender::{CONSUMERS, Half, PUBLISHERS};

const USAGE: &str = "\
usage: tests/bench/run [--rounds N] [--messages N] [--consume | --publish] [--only NAME,NAME]
                       [--quorum] [--out FOLDER]
       tests/bench/run --memory [--messages N] [--quorum]

--rounds N      how often each contender runs (5)
--messages N    how many messages the fastest take in a round (60000); the slow ones take a part
--consume       only the consuming half
--publish       only the publishing half
--only A,B      only these contenders; the ratios are to lapin-tuned and lapin-1000
--quorum        a quorum queue in place of a durable classic one
--out FOLDER    where results.md and chart.svg go. Default: tests/bench, if all contenders of both
                halves ran five rounds or more; otherwise tests/bench/target
--memory        a listener drains a million messages, and then handles a hundred of 16 MiB slowly;
                its memory, each second";

pub(crate) struct Options {
    pub(crate) rounds: usize,
    /// `None`: the default of each mode.
    pub(crate) messages: Option<u64>,
    pub(crate) halves: Vec<Half>,
    /// Empty: all.
    pub(crate) only: Vec<String>,
    pub(crate) quorum: bool,
    pub(crate) memory: bool,
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    /// Whether everything is measured, in enough rounds to be kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.rounds >= 5
            && self.halves.len() == 2
            && self.only.is_empty()
            && self.messages.is_none()
    }
}

pub(crate) fn read(arguments: &[String]) -> Result<Options, Error> {
    let mut options = Options {
        rounds: 5,
        messages: None,
        halves: vec![Half::Consume, Half::Publish],
        only: Vec::new(),
        quorum: false,
        memory: false,
        out: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--rounds" => options.rounds = positive(argument, value()?)? as usize,
            "--messages" => options.messages = Some(positive(argument, value()?)?),
            "--consume" => options.halves = vec![Half::Consume],
            "--publish" => options.halves = vec![Half::Publish],
            "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
            "--quorum" => options.quorum = true,
            "--memory" => options.memory = true,
            "--out" => options.out = Some(value()?.into()),
            "--help" => return Err(USAGE.into()),
            _ => return Err(format!("unknown option {argument:?}\n{USAGE}").into()),
        }
    }
    check_names(&options.only)?;
    Ok(options)
}

fn positive(option: &str, value: &str) -> Result<u64, Error> {
    match value.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(format!("{option} {value}: expected a number above 0").into()),
    }
}

fn check_names(only: &[String]) -> Result<(), Error> {
    let known: Vec<&str> =
        CONSUMERS.iter().chain(&PUBLISHERS).map(|contender| contender.name).collect();
    match only.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(format!("no contender {name:?}; there are {}", known.join(", ")).into()),
    }
}
