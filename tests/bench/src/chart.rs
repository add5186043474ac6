//! The results as a chart: a panel of horizontal bars for each figure, with the median and the ratio as
//! text. Plain SVG; its colours are readable on light and dark backgrounds.

use crate::contender::Half;
use crate::figures::{CPU, Figure, Figures, MEMORY, RATE};
use crate::table::{grouped, ratio};

const WIDTH: u32 = 760;
const NAMES: u32 = 130;
const BAR: u32 = 430;
const ROW: u32 = 22;

// Medium grey: a style for dark backgrounds would follow the system, not the page.
const STYLE: &str = "\
text { font: 13px sans-serif; fill: #75808c }
.title { font-weight: bold }
.bar { fill: #8c959f } .ours { fill: #d9730d } .base { fill: #3b82c4 }";

pub(crate) fn svg(halves: &[Figures]) -> String {
    let mut y = 0;
    let mut panels = String::new();
    for figures in halves {
        let base = figures.half.baseline();
        let doing = match figures.half {
            Half::Consume => "Consuming",
            Half::Publish => "Publishing",
        };
        for (what, figure) in [
            ("messages a second, more is better", RATE),
            ("CPU of the client, µs per message, less is better", CPU),
            ("peak memory of the client, MiB, less is better", MEMORY),
        ] {
            let title = format!("{doing}: {what} (ratio to {base})");
            panels += &panel(figures, &title, figure, &mut y);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" \
         viewBox=\"0 0 {WIDTH} {y}\" role=\"img\" aria-label=\"listener compared with other clients\">\n\
         <style>\n{STYLE}\n</style>\n{panels}</svg>\n"
    )
}

/// Starts at `y`, and advances it.
fn panel(figures: &Figures, title: &str, figure: Figure, y: &mut u32) -> String {
    let mut text = format!("<text class=\"title\" x=\"4\" y=\"{}\">{title}</text>\n", *y + 22);
    *y += 32;
    let median = |name: &str| figures.spread(name, figure).median;
    let longest = figures.names().map(median).fold(f64::MIN_POSITIVE, f64::max);
    for name in figures.names() {
        let value = median(name);
        let length = (value / longest * f64::from(BAR)).max(1.0);
        let shown = if value < 1000.0 { format!("{value:.1}") } else { grouped(value) };
        let class = if name.starts_with("listener") {
            "listener"
        } else if name == figures.half.baseline() {
            "base"
        } else {
            "bar"
        };
        let (base, end) = (*y + 15, f64::from(NAMES) + length + 6.0);
        text += &format!(
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{name}</text>\
             <rect class=\"{class}\" x=\"{NAMES}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\"/>\
             <text x=\"{end:.1}\" y=\"{base}\">{shown} ({})</text>\n",
            NAMES - 8,
            *y + 2,
            ROW - 4,
            ratio(figures, name, figure),
        );
        *y += ROW;
    }
    *y += 12;
    text
}
