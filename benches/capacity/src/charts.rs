//! The charts of docs/capacity.md.

use convodb_bench::chart::axis::{Labels, Scale};
use convodb_bench::chart::palette::{BLUE, GREEN, ORANGE, Paint, SAND, SKY, Theme};
use convodb_bench::chart::{self, Heading, LineAxes, Look, Series, Unit, WIDE};

use crate::inputs::Deployment;
use crate::plan::Plan;
use crate::report::Report;
use crate::scenario::Simulated;

/// All charts in both themes, with their file names.
#[must_use]
pub fn all(report: &Report) -> Vec<(String, String)> {
    let charts = Theme::ALL.map(|theme| {
        let look = Look { theme, width: WIDE };
        let name = |chart: &str| format!("{chart}-{}.svg", theme.name());
        [
            (name("capacity-latency"), latency(report, look)),
            (name("capacity-nodes"), nodes(report, look)),
        ]
    });
    charts.into_iter().flatten().collect()
}

/// One latency of a simulated plan, in milliseconds.
type Quantile = fn(&Simulated) -> f64;

/// Latencies at the peak by size: a line for each deployment and quantile.
fn latency(report: &Report, look: Look) -> String {
    let line = |deployment: Deployment, name: &str, paint: Paint, of: Quantile| {
        let points = report.sizes.iter().filter(|size| size.plan.deployment == deployment);
        let points = points.filter_map(|size| {
            Some((size.plan.demand.conversations, of(size.simulated.as_ref()?) * 1e3))
        });
        let name = format!("{}: {name}", deployment.name());
        Series { dashed: name.ends_with("p50"), name, paint, points: points.collect() }
    };
    let p50: Quantile = |simulated| simulated.writes.p50_ms;
    let p99: Quantile = |simulated| simulated.writes.p99_ms;
    let page: Quantile = |simulated| simulated.pages.p99_ms;
    let mut drawn = vec![
        line(Deployment::Sharded, "write p99", ORANGE, p99),
        line(Deployment::Sharded, "write p50", ORANGE, p50),
        line(Deployment::Sharded, "page p99", SAND, page),
        line(Deployment::OnePrimary, "write p99", GREEN, p99),
        line(Deployment::OnePrimary, "write p50", GREEN, p50),
        line(Deployment::File, "write p99", BLUE, p99),
        line(Deployment::File, "page p99", SKY, page),
    ];
    drawn.retain(|series| !series.points.is_empty());
    let heading = Heading {
        title: "Latency at the peak, by conversations",
        subtitle: "Simulated. A line ends where the deployment no longer fits",
    };
    let axes = LineAxes {
        x_name: "conversations",
        x: Scale::Logarithmic,
        x_labels: Labels::Counts,
        y: Scale::Logarithmic,
    };
    chart::lines(look, &heading, &axes, &drawn)
}

/// Database nodes and HTTP servers of each size, on the smallest deployment that it fits on.
fn nodes(report: &Report, look: Look) -> String {
    let smallest = smallest(report);
    let names: Vec<String> = smallest
        .iter()
        .map(|plan| {
            let deployment = plan.deployment.name();
            format!("{:.0e} conversations, {deployment}", plan.demand.conversations)
        })
        .collect();
    let points = smallest
        .iter()
        .enumerate()
        .map(|(number, plan)| (number as f64, (plan.database_nodes + plan.servers) as f64));
    let bars =
        Series { name: "nodes".to_owned(), paint: BLUE, dashed: false, points: points.collect() };
    let heading = Heading {
        title: "Nodes, by conversations",
        subtitle: "Database nodes with standbys and HTTP servers, on the smallest deployment that fits",
    };
    chart::rows(look, &heading, (Unit::Count, Scale::FromZero { to: 0.0 }), &names, &[bars])
}

/// The first possible plan of each size.
fn smallest(report: &Report) -> Vec<&Plan> {
    let mut plans: Vec<&Plan> = Vec::new();
    for size in &report.sizes {
        let is_new = plans
            .last()
            .is_none_or(|last| last.demand.conversations < size.plan.demand.conversations);
        if is_new && size.plan.breaks.is_none() {
            plans.push(&size.plan);
        }
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;

    #[test]
    fn charts_have_every_series_in_both_themes() {
        let report = Report::new(&Inputs::default(), &[1e6, 2e6], 1);
        let charts = all(&report);
        assert_eq!(charts.len(), 4);
        for (name, svg) in &charts {
            let expected =
                if name.contains("latency") { "file: page p99" } else { "1e6 conversations" };
            assert!(svg.starts_with("<svg") && svg.contains(expected), "{name}");
        }
    }
}
