//! A chart: lines between two axes, as SVG.

use std::fmt::Write;

use super::scale::Scale;

/// Its size in its own units; on the page it is as wide as there is room. Small, so that its words can be read on a phone.
const SIZE: (f64, f64) = (480.0, 340.0);
/// Where the lines may be: left, top, right, bottom.
const FIELD: (f64, f64, f64, f64) = (64.0, 12.0, 466.0, 282.0);
/// Colours, and patterns of dashes, of the lines; both are in the style sheet.
const COLOURS: usize = 6;
/// See there.
const DASHES: usize = 4;

/// One run's line.
pub struct Line {
    /// Whose it is, as HTML.
    pub label: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// Where its points are from left to right.
    pub fn xs(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|point| point.0)
    }

    /// And how high.
    pub fn ys(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|point| point.1)
    }
}

/// One of the axes.
pub struct Axis {
    /// What it shows, with the unit.
    pub name: &'static str,
    /// Where values stand.
    pub scale: Scale,
    /// How a value is written.
    pub label: fn(f64) -> String,
}

/// The chart.
pub struct Chart {
    /// Its name within the page.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// From left to right.
    pub x: Axis,
    /// From below to above.
    pub y: Axis,
    /// One for each run.
    pub lines: Vec<Line>,
}

/// How the line of a run looks.
pub fn class(n: usize) -> String {
    format!("line c{} d{}", n % COLOURS, n % DASHES)
}

impl Chart {
    /// As SVG, with a heading.
    pub fn svg(&self) -> String {
        let Self { id, title, x, y, .. } = self;
        let (width, height) = SIZE;
        let mut out = format!(
            "<figure>\n<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-text\">\n\
             <title id=\"{id}-title\">{title}</title>\n\
             <desc id=\"{id}-text\">From left to right: {}. From below to above: {}. The figures are in the tables below.</desc>\n",
            x.name, y.name
        );
        self.grid(&mut out);
        for (n, line) in self.lines.iter().enumerate() {
            self.line(&mut out, n, line);
        }
        let (left, top, right, bottom) = FIELD;
        let (middle, centre) = ((left + right) / 2.0, (top + bottom) / 2.0);
        let _ = writeln!(
            out,
            "<text class=\"name\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            height - 12.0,
            x.name
        );
        let _ = writeln!(
            out,
            "<text class=\"name\" transform=\"translate(14 {centre}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            y.name
        );
        out + &format!("</svg>\n<figcaption>{title}</figcaption>\n</figure>\n")
    }

    /// The lines of the ticks, and what they mean.
    fn grid(&self, out: &mut String) {
        let (left, top, right, bottom) = FIELD;
        for tick in &self.x.scale.ticks {
            let Some(x) = self.across(*tick) else { continue };
            let label = (self.x.label)(*tick);
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/>");
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                bottom + 18.0
            );
        }
        for tick in &self.y.scale.ticks {
            let Some(y) = self.up(*tick) else { continue };
            let label = (self.y.label)(*tick);
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>");
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 6.0,
                y + 4.5
            );
        }
        let _ = writeln!(out, "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/>");
    }

    /// The line of a run.
    fn line(&self, out: &mut String, n: usize, line: &Line) {
        let mut path = String::new();
        for (x, y) in &line.points {
            if let (Some(x), Some(y)) = (self.across(*x), self.up(*y)) {
                let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
            }
        }
        if line.points.len() == 1 {
            // One point is a dot: a line of no length with round ends.
            path += "h0";
        }
        let _ = writeln!(
            out,
            "<path class=\"{}\" d=\"{path}\"><title>{}</title></path>",
            class(n),
            line.label
        );
    }

    /// Where a value is from left to right.
    fn across(&self, value: f64) -> Option<f64> {
        let (left, _, right, _) = FIELD;
        self.x.scale.place(value).map(|place| left + place * (right - left))
    }

    /// Where a value is from below to above.
    fn up(&self, value: f64) -> Option<f64> {
        let (_, top, _, bottom) = FIELD;
        self.y.scale.place(value).map(|place| bottom - place * (bottom - top))
    }
}
