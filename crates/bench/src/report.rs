//! The table: each figure with its median, range, target, and whether the median meets it.

use crate::stats::median;

#[derive(Clone, Copy, PartialEq)]
pub enum Target {
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn met(self, value: f64) -> bool {
        match self {
            Self::None => true,
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn describe(self) -> String {
        match self {
            Self::None => "–".into(),
            Self::AtLeast(bound) => format!("≥ {}", plain(bound)),
            Self::AtMost(bound) => format!("≤ {}", plain(bound)),
        }
    }
}

pub struct Figure {
    name: String,
    target: Target,
    values: Vec<f64>,
}

impl Figure {
    fn met(&self) -> bool {
        self.target.met(median(&self.values))
    }

    fn range(&self) -> [String; 3] {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        [median(&self.values), least, most].map(plain)
    }
}

/// Figures in the order in which they were first taken.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// One more value of the figure `name`.
    pub fn add(&mut self, name: impl Into<String>, target: Target, value: f64) {
        let name = name.into();
        match self.0.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => self.0.push(Figure { name, target, values: vec![value] }),
        }
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn missed(&self) -> Vec<&str> {
        self.0.iter().filter(|figure| !figure.met()).map(|figure| figure.name.as_str()).collect()
    }

    /// A Markdown table. `beside` holds the same figures of the other database; they are printed and not judged.
    pub fn table(&self, beside: Option<&Self>) -> String {
        let mut names = vec!["name", "median", "min", "max", "target", "met"];
        if beside.is_some() {
            names.extend(["PostgreSQL median", "min", "max"]);
        }
        let mut rows = vec![names.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        for figure in &self.0 {
            let mut row = vec![figure.name.clone()];
            row.extend(figure.range());
            let met = if figure.target == Target::None { "–" } else { yes_or_no(figure.met()) };
            row.extend([figure.target.describe(), met.to_owned()]);
            if let Some(beside) = beside {
                let other = beside.0.iter().find(|other| other.name == figure.name);
                row.extend(other.map_or_else(|| ["–"; 3].map(str::to_owned), Figure::range));
            }
            rows.push(row);
        }
        layout(&rows)
    }
}

fn layout(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    lines.insert(1.min(lines.len()), line(&rule, &widths));
    lines.join("\n")
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    format!("| {} |", padded.join(" | "))
}

fn yes_or_no(met: bool) -> &'static str {
    if met { "yes" } else { "NO" }
}

/// Three digits that matter are enough for every figure here.
fn plain(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_judged_and_the_range_shown() {
        let mut figures = Figures::default();
        for value in [0.5, 0.4, 0.9] {
            figures.add("me / health", Target::AtLeast(0.45), value);
        }
        figures.add("idle, MiB", Target::AtMost(25.0), 25.5);
        figures.add("health, requests/s", Target::None, 12_345.6);
        assert_eq!(figures.missed(), ["idle, MiB"]);
        let table = figures.table(None);
        assert!(table.contains("| me / health        | 0.500  | 0.400 | 0.900 | ≥ 0.450 | yes |"), "{table}");
        assert!(table.contains("| idle, MiB          | 25.5   | 25.5  | 25.5  | ≤ 25    | NO  |"), "{table}");
        assert!(table.contains("| 12346  | 12346 | 12346 | –       | –   |"), "{table}");
    }

    #[test]
    fn the_other_database_stands_beside_and_is_not_judged() {
        let (mut figures, mut beside) = (Figures::default(), Figures::default());
        figures.add("me / health", Target::AtLeast(0.45), 0.5);
        beside.add("me / health", Target::AtLeast(0.45), 0.1);
        assert!(figures.missed().is_empty());
        assert!(figures.table(Some(&beside)).ends_with("| yes | 0.100             | 0.100 | 0.100 |"), "{}", figures.table(Some(&beside)));
    }
}
