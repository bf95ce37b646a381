//! `report`: groups, filters and formats.

use crate::maintenance::filled;

const REPORT: [&str; 5] = ["report", "--db", "s.convodb", "--user", "acme"];

#[test]
fn groups_have_volumes_and_a_total() {
    let place = filled();
    let run = |flags: &[&str]| place.run(REPORT.iter().chain(flags)).succeeded();
    let table = run(&["--group-by", "day,type"]);
    let words: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["DAY", "TYPE", "CONVERSATIONS", "MESSAGES", "COST", "USD"], "{table}");
    assert_eq!(words[1], ["2025-01-21", "test", "1", "2", "0.0032"], "{table}");
    assert_eq!(words[5], ["total", "4", "8", "0.0128"], "{table}");

    let all = run(&["--json"]);
    assert_eq!(all, "{\"conversations\":4,\"messages\":8,\"total_cost\":0.0128}\n");
    let months = run(&["--group-by", "month,assistant", "--csv"]);
    assert_eq!(
        months,
        "period,assistant_id,assistant_name,conversations,messages,total_cost\n\
         2025-01-01,a1b2c3d4-5678-40ab-8def-1234567890ab,Support,4,8,0.0128\n"
    );
}

#[test]
fn filters_narrow_the_report() {
    let place = filled();
    let run = |flags: &[&str]| place.run(REPORT.iter().chain(flags).chain(&["--json"])).succeeded();
    let one = "{\"conversations\":1,\"messages\":2,\"total_cost\":0.0032}\n";
    assert_eq!(run(&["--type", "api", "--assistant", "1"]), one);
    assert_eq!(run(&["--from", "2025-01-21", "--to", "2025-01-21"]), one);
    assert_eq!(
        run(&["--from", "2025-01-22", "--to", "2025-01-23", "--group-by", "type"]),
        "{\"type\":\"widget\",\"conversations\":1,\"messages\":2,\"total_cost\":0.0032}\n\
         {\"type\":\"api\",\"conversations\":1,\"messages\":2,\"total_cost\":0.0032}\n"
    );
    let none = "{\"conversations\":0,\"messages\":0,\"total_cost\":0.0}\n";
    assert_eq!(run(&["--from", "2026-01-01"]), none);
    assert_eq!(run(&["--from", "2026-01-01", "--group-by", "day"]), "");
}

#[test]
fn contradictory_flags_are_refused() {
    let place = filled();
    let fails = |flags: &[&str]| place.run(REPORT.iter().chain(flags)).failed(2);
    assert!(fails(&["--group-by", "day,week"]).contains("at most one of day, week and month"));
    assert!(fails(&["--group-by", "hour"]).contains("possible values"));
    assert!(fails(&["--from", "2025-01-25T10:00:00Z"]).contains("must be a day"));
    assert!(fails(&["--from", "2025-01-02", "--to", "2025-01-01"]).contains("--to must not be"));
    assert!(fails(&["--json", "--csv"]).contains("cannot be used with"));
}
