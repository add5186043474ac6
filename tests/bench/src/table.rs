//! The results as Markdown, printed and written to results.md.

use crate::contender::Half;
use crate::figures::{CPU, FIRST, Figure, Figures, MEMORY, RATE, Spread};

/// `about` describes the setup of the measurement.
pub(crate) fn markdown(about: &str, halves: &[Figures]) -> String {
    let mut text = format!("# Results\n\nMade by `tests/bench/run`. {about}\n");
    for figures in halves {
        let base = figures.half.baseline();
        let title = match figures.half {
            Half::Consume => "Consuming",
            Half::Publish => "Publishing, confirmed",
        };
        text += &format!(
            "\n## {title}\n\nA ratio is to `{base}` in the same round.\n\n\
             | contender | messages/s | ratio | CPU, µs a message | ratio | peak RSS, MiB | ratio \
             | first message, ms |\n|---|---|---|---|---|---|---|---|\n"
        );
        for name in figures.names() {
            text += &format!(
                "| {name} | {} | {} | {} | {} | {} | {} | {} |\n",
                whole(&figures.spread(name, RATE)),
                ratio(figures, name, RATE),
                tenths(&figures.spread(name, CPU)),
                ratio(figures, name, CPU),
                tenths(&figures.spread(name, MEMORY)),
                ratio(figures, name, MEMORY),
                whole(&figures.spread(name, FIRST)),
            );
        }
    }
    text
}

pub(crate) fn ratio(figures: &Figures, name: &str, figure: Figure) -> String {
    figures.ratio(name, figure).map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// With commas, as 12,345.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn whole(Spread { median, least, most }: &Spread) -> String {
    format!("{} ({}–{})", grouped(*median), grouped(*least), grouped(*most))
}

fn tenths(Spread { median, least, most }: &Spread) -> String {
    format!("{median:.1} ({least:.1}–{most:.1})")
}
