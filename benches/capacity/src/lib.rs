//! Capacity model: how many machines a number of conversations needs, and how long requests then take.
//!
//! * [`inputs`] has what was measured or assumed, each with its source.
//! * [`population`] spreads conversations over users by Zipf's law, and users over shards.
//! * [`plan`] computes storage, rates and the number of shards, and which limit decides it.
//! * [`simulation`] runs arrivals through lanes, processors, commits, failovers and shard moves.
//! * [`scenario`] runs the plan of each size through the simulation.
//! * [`measured`] runs the simulation in the arrangements that were measured.
//! * [`report`] and [`charts`] show the results.

pub mod charts;
pub mod inputs;
pub mod measured;
pub mod plan;
pub mod population;
pub mod report;
pub mod scenario;
pub mod simulation;
