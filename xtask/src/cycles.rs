//! Cycles of a directed graph, each as a shortest path from a node back to itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A directed graph: each node with the nodes it points to.
pub type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The cycles that a depth-first search meets: none exactly when the graph has no cycle.
///
/// Each cycle begins and ends with the same node. The search visits each edge once, and once more
/// for each cycle.
pub fn cycles<'a>(graph: &Graph<'a>) -> Vec<Vec<&'a str>> {
    let mut search =
        Search { graph, open: Vec::new(), done: BTreeSet::new(), back_edges: Vec::new() };
    for node in graph.keys() {
        search.visit(node);
    }
    let mut found: Vec<Vec<&str>> = Vec::new();
    let mut seen = BTreeSet::new();
    for (from, to) in search.back_edges {
        let mut path = shortest_path(graph, to, from);
        let members: BTreeSet<&str> = path.iter().copied().collect();
        if seen.insert(members) {
            path.push(to);
            found.push(path);
        }
    }
    found
}

struct Search<'g, 'a> {
    graph: &'g Graph<'a>,
    /// The path from the first node to the current one.
    open: Vec<&'a str>,
    done: BTreeSet<&'a str>,
    /// Edges to a node of the path: each closes a cycle.
    back_edges: Vec<(&'a str, &'a str)>,
}

impl<'a> Search<'_, 'a> {
    fn visit(&mut self, node: &'a str) {
        if self.done.contains(node) {
            return;
        }
        self.open.push(node);
        for next in self.graph.get(node).into_iter().flatten() {
            if self.open.contains(next) {
                self.back_edges.push((node, next));
            } else {
                self.visit(next);
            }
        }
        self.open.pop();
        self.done.insert(node);
    }
}

/// The nodes from `from` to `to`, both included; `from` alone if no path exists.
fn shortest_path<'a>(graph: &Graph<'a>, from: &'a str, to: &'a str) -> Vec<&'a str> {
    let mut before: BTreeMap<&str, &'a str> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front().filter(|node| *node != to) {
        for next in graph.get(node).into_iter().flatten() {
            if *next != from && !before.contains_key(next) {
                before.insert(next, node);
                queue.push_back(next);
            }
        }
    }
    let mut path = vec![to];
    while let Some(node) = path.last().and_then(|node| before.get(node)) {
        path.push(node);
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edges: &[(&'static str, &'static str)], expected: &[&str]) {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry(from).or_default().insert(to);
        }
        let found: Vec<String> = cycles(&graph).iter().map(|cycle| cycle.join(" ")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_graph_without_cycles_has_none() {
        check(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")], &[]);
    }

    #[test]
    fn a_cycle_is_reported_as_its_shortest_path() {
        check(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b"), ("b", "d")], &["b d b"]);
        check(&[("a", "b"), ("b", "c"), ("c", "a")], &["a b c a"]);
    }

    #[test]
    fn separate_cycles_are_reported_separately() {
        check(
            &[("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"), ("e", "e")],
            &["a b a", "c d c", "e e"],
        );
    }
}
