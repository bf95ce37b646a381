//! A discrete-event simulation of shards: lanes that group waiting writes, connections, users' locks,
//! processors in order of arrival, commits, failovers and shard moves.
//!
//! A group takes the writes that wait in its lane, then a connection, then the user's lock, then a
//! core, and waits for the commit. It holds connection and lock until then. A page takes a core. The
//! same inputs and seed give the same results.
//!
//! An attempt at a shard that is down gives its connection up after a while, unless it is one of the
//! few that may go on, and from then on waits for a place among these.

mod event_queue;
mod outcome;
mod system;

use std::collections::VecDeque;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

pub use outcome::{Latencies, Outcome, Quantiles, ShardOutcome};
pub use system::{Fault, FaultKind, Lane, Load, Service, System};

use event_queue::{EventQueue, Nanos, nanos, seconds};

/// The shortest and the longest pause before a group is attempted again, in seconds.
const PAUSE: (f64, f64) = (0.015, 0.75);
/// The share of a run that is not measured, because queues are empty when it begins.
const WARM_UP: f64 = 0.1;

/// Runs requests for some seconds, then those that still wait, and returns what was measured.
///
/// # Panics
/// A lane, user or weight of the system is out of range.
#[must_use]
pub fn run(system: &System, load: &Load, faults: &[Fault], duration: f64, seed: u64) -> Outcome {
    let mut simulation = Simulation::new(system, load, duration, seed);
    simulation.begin(faults);
    while let Some(event) = simulation.events.pop() {
        simulation.handle(event);
    }
    simulation.finish()
}

#[derive(Clone, Copy)]
enum Event {
    Write,
    Page,
    Done {
        shard: usize,
        job: Job,
        epoch: u32,
        started: Nanos,
    },
    Committed {
        lane: usize,
        epoch: u32,
    },
    /// An attempt has made no progress for a while.
    Stalled(usize),
    AttemptFailed(usize),
    Retry(usize),
    /// A lane has a place among those without progress.
    Placed(usize),
    /// A lane has a connection, or its user's lock.
    Connected(usize),
    Locked(usize),
    Checkpoint(usize),
    Begin(Fault),
    End(Fault),
}

#[derive(Clone, Copy)]
enum Job {
    Group(usize),
    Page { arrived: Nanos, wait: Nanos },
    Checkpoint,
}

struct ShardState {
    free: usize,
    jobs: VecDeque<(Job, Nanos)>,
    /// Grows with each failover: what began before it has failed.
    epoch: u32,
    is_down: bool,
    /// The groups that wait for the end of a shard move.
    paused: Option<Vec<usize>>,
    writes_since_checkpoint: usize,
}

#[derive(Clone, Default)]
struct LaneState {
    /// Arrivals of the writes that wait, and of those of the group that runs.
    waiting: VecDeque<Nanos>,
    group: Vec<Nanos>,
    attempts: i32,
    runs: bool,
    /// Whether the group has failed without progress.
    is_suspect: bool,
    /// Whether it has a place among those without progress.
    is_placed: bool,
}

/// Something that a bounded number holds, in order of arrival: connections, or a lock.
#[derive(Clone)]
struct Permits {
    free: usize,
    waiting: VecDeque<usize>,
}

impl Permits {
    const fn new(free: usize) -> Self {
        Self { free, waiting: VecDeque::new() }
    }

    /// Whether the lane has a permit now. Else it waits.
    fn acquire(&mut self, lane: usize) -> bool {
        let is_free = self.free > 0;
        if is_free {
            self.free -= 1;
        } else {
            self.waiting.push_back(lane);
        }
        is_free
    }

    /// Returns a permit; the lane that has it next, if one waits.
    fn release(&mut self) -> Option<usize> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.free += 1;
        }
        next
    }
}

struct Simulation<'s> {
    system: &'s System,
    load: &'s Load,
    /// Sums of the weights of the lanes.
    cumulative: Vec<f64>,
    random: ChaCha8Rng,
    events: EventQueue<Event>,
    shards: Vec<ShardState>,
    lanes: Vec<LaneState>,
    locks: Vec<Permits>,
    pools: Vec<Permits>,
    /// The places of attempts without progress, of each pool.
    places: Vec<Permits>,
    measured: (Nanos, Nanos),
    outcomes: Vec<ShardOutcome>,
    groups: u64,
    in_system: u64,
    /// The integral of the number of writes in the system, and until when.
    area: (f64, Nanos),
}

impl<'s> Simulation<'s> {
    fn new(system: &'s System, load: &'s Load, duration: f64, seed: u64) -> Self {
        let weights: &[f64] = match load {
            Load::Open { weights, .. } => weights,
            Load::Closed(_) => &[],
        };
        let add = |sum: &mut f64, weight: &f64| {
            *sum += weight;
            Some(*sum)
        };
        let cumulative = weights.iter().scan(0.0, add).collect();
        let shard = || ShardState {
            free: system.cores,
            jobs: VecDeque::new(),
            epoch: 0,
            is_down: false,
            paused: None,
            writes_since_checkpoint: 0,
        };
        Self {
            system,
            load,
            cumulative,
            random: ChaCha8Rng::seed_from_u64(seed),
            events: EventQueue::new(),
            shards: (0..system.shards).map(|_| shard()).collect(),
            lanes: vec![LaneState::default(); system.lanes.len()],
            locks: vec![Permits::new(1); system.users.len()],
            pools: vec![Permits::new(system.connections); system.pools],
            places: vec![Permits::new(system.stalled_connections); system.pools],
            measured: (nanos(duration * WARM_UP), nanos(duration)),
            outcomes: vec![ShardOutcome::default(); system.shards],
            groups: 0,
            in_system: 0,
            area: (0.0, 0),
        }
    }

    fn begin(&mut self, faults: &[Fault]) {
        match self.load {
            Load::Open { writes, pages, .. } => {
                self.schedule_arrival(*writes, Event::Write);
                self.schedule_arrival(*pages, Event::Page);
            }
            Load::Closed(writers) => {
                for lane in writers {
                    self.arrive(*lane);
                }
            }
        }
        for fault in faults {
            self.events.schedule(nanos(fault.at), Event::Begin(*fault));
            self.events.schedule(nanos(fault.at + fault.seconds), Event::End(*fault));
        }
        for shard in 0..self.system.shards {
            self.schedule_checkpoint(shard);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Write => {
                if let Load::Open { writes, .. } = self.load {
                    self.schedule_arrival(*writes, Event::Write);
                    let lane = self.random_lane();
                    self.arrive(lane);
                }
            }
            Event::Page => {
                if let Load::Open { pages, .. } = self.load {
                    self.schedule_arrival(*pages, Event::Page);
                    self.read_page();
                }
            }
            Event::Done { shard, job, epoch, started } => self.job_done(shard, job, epoch, started),
            Event::Committed { lane, epoch } => {
                let is_lost = epoch != self.shards[self.shard_of(lane)].epoch;
                if is_lost { self.fail(lane) } else { self.committed(lane) }
            }
            Event::Stalled(lane) => {
                let Service { stall, failed_attempt, .. } = self.system.service;
                let places = &mut self.places[self.system.lanes[lane].pool];
                self.lanes[lane].is_suspect = true;
                if places.free > 0 {
                    places.free -= 1;
                    self.lanes[lane].is_placed = true;
                    self.after(failed_attempt - stall, Event::AttemptFailed(lane));
                } else {
                    self.handle(Event::AttemptFailed(lane));
                }
            }
            Event::AttemptFailed(lane) => {
                self.release_connection(lane);
                let pause = PAUSE.0 * 2_f64.powi(self.lanes[lane].attempts.min(6));
                self.lanes[lane].attempts += 1;
                self.after(pause.min(PAUSE.1), Event::Retry(lane));
            }
            Event::Retry(lane) => self.acquire_place(lane),
            Event::Placed(lane) => {
                self.lanes[lane].is_placed = true;
                self.acquire_connection(lane);
            }
            Event::Connected(lane) => self.connected(lane),
            Event::Locked(lane) => self.execute(lane),
            Event::Checkpoint(shard) => {
                let writes = std::mem::take(&mut self.shards[shard].writes_since_checkpoint);
                let time = nanos(writes as f64 * self.system.service.checkpoint_cpu);
                if time > 0 {
                    self.submit(shard, Job::Checkpoint, time);
                }
                self.schedule_checkpoint(shard);
            }
            Event::Begin(fault) => self.begin_fault(fault),
            Event::End(fault) => {
                let shard = &mut self.shards[fault.shard];
                shard.is_down = false;
                for lane in shard.paused.take().unwrap_or_default() {
                    self.execute(lane);
                }
            }
        }
    }

    fn begin_fault(&mut self, fault: Fault) {
        let shard = &mut self.shards[fault.shard];
        if fault.kind == FaultKind::Move {
            shard.paused = Some(Vec::new());
            return;
        }
        shard.epoch += 1;
        shard.is_down = true;
        shard.free = self.system.cores;
        for (job, _) in std::mem::take(&mut shard.jobs) {
            self.job_failed(fault.shard, job);
        }
    }

    /// Schedules the next of independent arrivals at a rate.
    fn schedule_arrival(&mut self, rate: f64, event: Event) {
        if rate > 0.0 {
            let uniform: f64 = self.random.random();
            let at = self.events.now() + nanos(-(1.0 - uniform).ln() / rate);
            if at <= self.measured.1 {
                self.events.schedule(at, event);
            }
        }
    }

    fn schedule_checkpoint(&mut self, shard: usize) {
        let every = nanos(self.system.service.checkpoint_every);
        if every > 0 && self.events.now() + every <= self.measured.1 {
            self.events.schedule(self.events.now() + every, Event::Checkpoint(shard));
        }
    }

    fn after(&mut self, seconds: f64, event: Event) {
        let at = self.events.now() + nanos(seconds);
        self.events.schedule(at, event);
    }

    /// A lane by its weight.
    fn random_lane(&mut self) -> usize {
        let total = self.cumulative.last().copied().unwrap_or_default();
        let wanted = self.random.random::<f64>() * total;
        self.cumulative.partition_point(|sum| *sum <= wanted).min(self.cumulative.len() - 1)
    }

    fn shard_of(&self, lane: usize) -> usize {
        self.system.users[self.system.lanes[lane].user]
    }

    /// Whether requests that end now are measured.
    fn is_measured(&self) -> bool {
        self.events.now() >= self.measured.0
    }

    /// Adds to the number of writes in the system, or removes from it.
    fn count_in_system(&mut self, arrived: u64, left: u64) {
        let (begin, end) = self.measured;
        let (from, to) = (self.area.1.clamp(begin, end), self.events.now().clamp(begin, end));
        self.area.0 += seconds(to - from) * self.in_system as f64;
        self.area.1 = self.events.now();
        self.in_system = self.in_system + arrived - left;
    }

    fn arrive(&mut self, lane: usize) {
        if self.lanes[lane].waiting.len() >= self.system.service.max_waiting {
            let shard = self.shard_of(lane);
            self.outcomes[shard].refused += u64::from(self.is_measured());
            return;
        }
        self.count_in_system(1, 0);
        self.lanes[lane].waiting.push_back(self.events.now());
        if !self.lanes[lane].runs {
            self.start_group(lane);
        }
    }

    /// Takes the writes that wait in a lane as its next group.
    fn start_group(&mut self, lane: usize) {
        self.drop_expired(lane);
        let state = &mut self.lanes[lane];
        let size = state.waiting.len().min(self.system.service.max_group);
        state.group = state.waiting.drain(..size).collect();
        state.attempts = 0;
        state.is_suspect = false;
        state.runs = size > 0;
        if state.runs {
            self.acquire_connection(lane);
        }
    }

    /// Fails the waiting writes whose time has ended.
    fn drop_expired(&mut self, lane: usize) {
        let timeout = nanos(self.system.service.timeout);
        let now = self.events.now();
        let waiting = &mut self.lanes[lane].waiting;
        let expired = waiting.iter().take_while(|arrived| **arrived + timeout <= now).count();
        waiting.drain(..expired);
        self.time_out(lane, expired);
    }

    fn time_out(&mut self, lane: usize, writes: usize) {
        let shard = self.shard_of(lane);
        if self.is_measured() {
            self.outcomes[shard].timed_out += writes as u64;
        }
        self.count_in_system(0, writes as u64);
    }

    fn acquire_connection(&mut self, lane: usize) {
        if self.pools[self.system.lanes[lane].pool].acquire(lane) {
            self.connected(lane);
        }
    }

    /// Takes a connection, after a place among those without progress if the group is a suspect.
    fn acquire_place(&mut self, lane: usize) {
        let is_limited = self.system.stalled_connections > 0;
        if !is_limited || !self.lanes[lane].is_suspect {
            self.acquire_connection(lane);
        } else if self.places[self.system.lanes[lane].pool].acquire(lane) {
            self.handle(Event::Placed(lane));
        }
    }

    fn release_connection(&mut self, lane: usize) {
        let pool = self.system.lanes[lane].pool;
        if std::mem::take(&mut self.lanes[lane].is_placed)
            && let Some(next) = self.places[pool].release()
        {
            self.after(0.0, Event::Placed(next));
        }
        if let Some(next) = self.pools[self.system.lanes[lane].pool].release() {
            self.after(0.0, Event::Connected(next));
        }
    }

    fn connected(&mut self, lane: usize) {
        let timeout = nanos(self.system.service.timeout);
        let first = self.lanes[lane].group.first().copied().unwrap_or_default();
        if first + timeout <= self.events.now() {
            // All writes of a group have the deadline of its first.
            let writes = std::mem::take(&mut self.lanes[lane].group).len();
            self.time_out(lane, writes);
            self.release_connection(lane);
            self.start_group(lane);
        } else if self.shards[self.shard_of(lane)].is_down {
            self.attempt_in_vain(lane);
        } else if self.locks[self.system.lanes[lane].user].acquire(lane) {
            self.execute(lane);
        }
    }

    /// Runs a group that has its user's lock.
    fn execute(&mut self, lane: usize) {
        let shard = self.shard_of(lane);
        let state = &mut self.shards[shard];
        if state.is_down {
            self.fail(lane);
        } else if let Some(paused) = &mut state.paused {
            paused.push(lane);
        } else {
            let service = &self.system.service;
            let writes = self.lanes[lane].group.len() as f64;
            let time = nanos(service.group_cpu + writes * service.write_cpu);
            self.submit(shard, Job::Group(lane), time);
        }
    }

    fn submit(&mut self, shard: usize, job: Job, time: Nanos) {
        let state = &mut self.shards[shard];
        if state.free > 0 {
            state.free -= 1;
            let (epoch, started) = (state.epoch, self.events.now());
            self.events.schedule(started + time, Event::Done { shard, job, epoch, started });
        } else {
            state.jobs.push_back((job, time));
        }
    }

    fn read_page(&mut self) {
        let lane = self.random_lane();
        let shard = self.shard_of(lane);
        if self.shards[shard].is_down {
            self.outcomes[shard].failed_pages += u64::from(self.is_measured());
            return;
        }
        let service = &self.system.service;
        let is_cold = self.random.random::<f64>() < service.cold_share;
        let cold = if is_cold { service.cold_wait } else { 0.0 };
        let wait = nanos(service.page_wait + cold);
        let job = Job::Page { arrived: self.events.now(), wait };
        self.submit(shard, job, nanos(service.page_cpu));
    }

    fn job_done(&mut self, shard: usize, job: Job, epoch: u32, started: Nanos) {
        let now = self.events.now();
        if started >= self.measured.0 && started <= self.measured.1 {
            self.outcomes[shard].busy += seconds(now - started);
        }
        if epoch != self.shards[shard].epoch {
            self.job_failed(shard, job);
            return;
        }
        self.shards[shard].free += 1;
        if let Some((next, time)) = self.shards[shard].jobs.pop_front() {
            self.submit(shard, next, time);
        }
        match job {
            Job::Group(lane) => {
                let wait = self.commit_wait();
                self.after(wait, Event::Committed { lane, epoch });
            }
            Job::Page { arrived, wait } if self.is_measured() => {
                self.outcomes[shard].pages.record(now - arrived + wait);
            }
            Job::Page { .. } | Job::Checkpoint => {}
        }
    }

    fn job_failed(&mut self, shard: usize, job: Job) {
        match job {
            Job::Group(lane) => self.fail(lane),
            Job::Page { .. } => {
                self.outcomes[shard].failed_pages += u64::from(self.is_measured());
            }
            Job::Checkpoint => {}
        }
    }

    /// The time until a commit is confirmed, in seconds, log-normal about its mean.
    fn commit_wait(&mut self) -> f64 {
        let Service { commit_wait, commit_spread, .. } = self.system.service;
        if commit_spread == 0.0 {
            return commit_wait;
        }
        let normal: f64 = StandardNormal.sample(&mut self.random);
        commit_wait * (commit_spread * normal - commit_spread * commit_spread / 2.0).exp()
    }

    /// A group whose shard went down: it is attempted again.
    fn fail(&mut self, lane: usize) {
        self.release_lock(lane);
        self.attempt_in_vain(lane);
    }

    /// An attempt at a shard that is down.
    fn attempt_in_vain(&mut self, lane: usize) {
        let Service { stall, failed_attempt, .. } = self.system.service;
        let is_limited = self.system.stalled_connections > 0 && !self.lanes[lane].is_placed;
        if is_limited && stall < failed_attempt {
            self.after(stall, Event::Stalled(lane));
        } else {
            self.after(failed_attempt, Event::AttemptFailed(lane));
        }
    }

    fn release_lock(&mut self, lane: usize) {
        if let Some(next) = self.locks[self.system.lanes[lane].user].release() {
            self.after(0.0, Event::Locked(next));
        }
    }

    fn committed(&mut self, lane: usize) {
        let (now, shard) = (self.events.now(), self.shard_of(lane));
        let group = std::mem::take(&mut self.lanes[lane].group);
        if self.is_measured() {
            self.groups += 1;
            for arrived in &group {
                self.outcomes[shard].writes.record(now - arrived);
            }
        }
        self.shards[shard].writes_since_checkpoint += group.len();
        self.count_in_system(0, group.len() as u64);
        self.release_lock(lane);
        self.release_connection(lane);
        self.start_group(lane);
        if matches!(self.load, Load::Closed(_)) && now < self.measured.1 {
            for _ in group {
                self.arrive(lane);
            }
        }
    }

    fn finish(mut self) -> Outcome {
        self.count_in_system(0, 0);
        let measured = seconds(self.measured.1 - self.measured.0);
        Outcome {
            shards: self.outcomes,
            seconds: measured,
            cores: self.system.cores,
            groups: self.groups,
            writes_in_system: self.area.0 / measured,
        }
    }
}

#[cfg(test)]
mod tests;
