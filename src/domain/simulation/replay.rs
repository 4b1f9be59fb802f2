//! Replays a trace against hosts with a fixed number of slots: first come first served, CPU contention included.
//!
//! All jobs of a host advance at the same rate, so a job that starts at virtual time `v` with work `w` ends at
//! virtual time `v + w` whatever happens to the rate: the list of finishes is never reordered. Stages follow after
//! a constant gap, so pending stages are a queue, not a heap. What is left per job is one sorted insertion.

use std::collections::VecDeque;

use super::super::contention::ProgressTable;
use super::super::random::{Purpose, Stream};
use super::super::workload::Trace;

/// Which host asks first; one stream for all traces, for the jobs differ already.
const ASKING: Stream = Stream::new(0, 0, Purpose::Polls);

/// Hosts of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Fleet<'a> {
    /// Number of hosts.
    pub hosts: usize,
    /// Jobs that run at once on each host.
    pub slots: usize,
    /// Speed of a thread relative to the reference thread.
    pub speed: f64,
    /// Progress of jobs that share a host.
    pub progress: &'a ProgressTable,
}

/// What a job needs on a given thread speed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// Undisturbed seconds in the slot.
    pub work: f64,
    /// Share of the time that computes.
    pub share: f64,
}

impl Demand {
    /// Returns the demand of a job: waiting stays, computing scales with the thread, pickup holds the slot.
    #[inline]
    pub fn of(trace: &Trace, job: usize, slowness: f64) -> Self {
        let (duration, cpu) = (
            f64::from(trace.duration[job]),
            f64::from(trace.cpu[job]) * slowness,
        );
        let run = duration - f64::from(trace.cpu[job]) + cpu;
        Self {
            work: f64::from(trace.pickup[job]) + run,
            share: cpu / run,
        }
    }
}

/// Told of everything that happens; times in seconds from the start of the trace.
pub trait Recorder {
    /// A job got a slot at `start`; `wait` counts from `ready` until the runner has picked it up.
    fn started(&mut self, pipeline: usize, ready: f64, start: f64, wait: f64);
    /// A job left its slot.
    #[inline]
    fn finished(&mut self, _at: f64) {}
    /// The last job of a pipeline ended.
    fn completed(&mut self, arrival: f64, end: f64);
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Finish {
    at: f64,
    pub pipeline: u32,
    share: f32,
}

/// A host with its virtual clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Running jobs, the next to finish last.
    running: Vec<Finish>,
    virtual_now: f64,
    now: f64,
    rate: f64,
    shares: f64,
    /// Real time of the next finish, infinite when idle.
    pub next: f64,
}

impl Host {
    pub fn reset(&mut self) {
        self.running.clear();
        (self.virtual_now, self.now, self.rate, self.shares, self.next) = (0.0, 0.0, 1.0, 0.0, f64::INFINITY);
    }

    #[inline]
    pub fn jobs(&self) -> usize {
        self.running.len()
    }

    /// Moves the virtual clock to `now`.
    #[inline]
    pub fn advance(&mut self, now: f64) {
        self.virtual_now += (now - self.now) * self.rate;
        self.now = now;
    }

    /// Adds a job; `settle` must follow.
    #[inline]
    pub fn add(&mut self, pipeline: u32, demand: Demand) {
        let finish = Finish {
            at: self.virtual_now + demand.work,
            pipeline,
            share: demand.share as f32,
        };
        self.shares += f64::from(finish.share);
        let running = self.running.len();
        if running > 32 {
            let place = self.running.partition_point(|other| other.at > finish.at);
            self.running.insert(place, finish);
            return;
        }
        self.running.push(finish);
        let list = &mut self.running[..];
        let mut place = running;
        while place > 0 && list[place - 1].at <= finish.at {
            list[place] = list[place - 1];
            place -= 1;
        }
        list[place] = finish;
    }

    /// Takes the next job to finish, at its time `now`; `settle` must follow.
    #[inline]
    pub fn take(&mut self, now: f64) -> Option<Finish> {
        let finish = self.running.pop()?;
        // The clock is set to the finish itself, so that rounding never piles up.
        (self.now, self.virtual_now) = (now, finish.at);
        self.shares -= f64::from(finish.share);
        Some(finish)
    }

    /// Works out rate and next finish for the jobs there are.
    #[inline]
    pub fn settle(&mut self, progress: &ProgressTable) {
        match self.running.last() {
            None => {
                (self.virtual_now, self.shares, self.rate, self.next) = (0.0, 0.0, 1.0, f64::INFINITY);
            }
            Some(first) => {
                self.rate = progress.rate(self.running.len(), self.shares);
                self.next = self.now + (first.at - self.virtual_now) / self.rate;
            }
        }
    }
}

/// Jobs of one stage that wait for slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub ready: f64,
    pub pipeline: u32,
    pub next: u32,
    pub end: u32,
}

/// How far a pipeline is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// First job of the next stage.
    pub next: u32,
    /// Jobs of the stage that are not finished.
    pub left: u32,
}

impl Progress {
    /// Opens the next stage: returns the range of its jobs.
    #[inline]
    pub fn open(&mut self, trace: &Trace) -> (u32, u32) {
        let first = self.next;
        let mut end = first as usize;
        while !trace.ends_stage[end] {
            end += 1;
        }
        self.next = end as u32 + 1;
        self.left = self.next - first;
        (first, self.next)
    }
}

/// Memory of a replay, kept between replays.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    hosts: Vec<Host>,
    progress: Vec<Progress>,
    queue: VecDeque<Batch>,
    pending: VecDeque<(f64, u32)>,
}

/// Replays the whole trace until the last job has ended.
///
/// A job goes to any host with a free slot, all alike: each runner polls on its own and none knows of the others.
/// Which one it is depends on the job only, so that candidates with as many hosts agree.
pub fn replay(trace: &Trace, fleet: &Fleet<'_>, space: &mut Workspace, recorder: &mut impl Recorder) {
    space.reset(trace, fleet.hosts.max(1));
    if fleet.hosts <= 1 {
        replay_host(trace, fleet, space, recorder);
    } else {
        replay_hosts(trace, fleet, space, recorder);
    }
}

impl Workspace {
    fn reset(&mut self, trace: &Trace, hosts: usize) {
        self.hosts.resize_with(hosts, Host::default);
        self.hosts.iter_mut().for_each(Host::reset);
        self.progress.clear();
        let first_jobs = &trace.first_job[..trace.pipelines()];
        self.progress
            .extend(first_jobs.iter().map(|job| Progress { next: *job, left: 0 }));
        self.queue.clear();
        self.pending.clear();
    }
}

/// One host: jobs wait only while all slots are busy, so a finish starts one job at most.
fn replay_host(trace: &Trace, fleet: &Fleet<'_>, space: &mut Workspace, recorder: &mut impl Recorder) {
    let Workspace {
        hosts,
        progress,
        queue,
        pending,
    } = space;
    let host = &mut hosts[0];
    let slowness = 1.0 / fleet.speed;
    let mut arrivals = trace.arrival.iter();
    let mut arriving = 0;
    let mut next_arrival = arrivals.next().copied().unwrap_or(f64::INFINITY);
    let mut next_stage = f64::INFINITY;
    loop {
        if host.next <= next_stage && host.next <= next_arrival {
            let now = host.next;
            let Some(done) = host.take(now) else { break };
            recorder.finished(now);
            if leave(trace, progress, pending, done.pipeline, now, recorder) && next_stage == f64::INFINITY {
                next_stage = now + trace.stage_gap;
            }
            if let Some(batch) = queue.front_mut() {
                start(trace, batch, host, slowness, now, recorder);
                if batch.next == batch.end {
                    queue.pop_front();
                }
            }
            host.settle(fleet.progress);
            continue;
        }
        let (now, pipeline) = if next_stage <= next_arrival {
            let now = next_stage;
            let pipeline = pending.pop_front().map_or(0, |(_, pipeline)| pipeline);
            next_stage = pending.front().map_or(f64::INFINITY, |(at, _)| *at);
            (now, pipeline)
        } else {
            let now = next_arrival;
            next_arrival = arrivals.next().copied().unwrap_or(f64::INFINITY);
            arriving += 1;
            (now, arriving - 1)
        };
        let (next, end) = progress[pipeline as usize].open(trace);
        let mut batch = Batch {
            ready: now,
            pipeline,
            next,
            end,
        };
        let mut free = fleet.slots - host.jobs();
        if free > 0 {
            host.advance(now);
            while free > 0 && batch.next < batch.end {
                start(trace, &mut batch, host, slowness, now, recorder);
                free -= 1;
            }
            host.settle(fleet.progress);
        }
        if batch.next < batch.end {
            queue.push_back(batch);
        }
    }
}

fn replay_hosts(trace: &Trace, fleet: &Fleet<'_>, space: &mut Workspace, recorder: &mut impl Recorder) {
    let Workspace {
        hosts,
        progress,
        queue,
        pending,
    } = space;
    let slowness = 1.0 / fleet.speed;
    let mut free = hosts.len() * fleet.slots;
    let mut arriving = 0;
    loop {
        let next_arrival = trace.arrival.get(arriving).copied().unwrap_or(f64::INFINITY);
        let next_stage = pending.front().map_or(f64::INFINITY, |(at, _)| *at);
        let (mut busiest, mut next_finish) = (0, hosts[0].next);
        for (index, host) in hosts.iter().enumerate().skip(1) {
            if host.next < next_finish {
                (busiest, next_finish) = (index, host.next);
            }
        }

        let (now, ready) = if next_finish <= next_stage && next_finish <= next_arrival {
            let now = next_finish;
            let host = &mut hosts[busiest];
            let Some(done) = host.take(now) else { break };
            recorder.finished(now);
            free += 1;
            leave(trace, progress, pending, done.pipeline, now, recorder);
            if queue.is_empty() {
                host.settle(fleet.progress);
                continue;
            }
            (now, None)
        } else if next_stage <= next_arrival {
            let pipeline = pending.pop_front().map_or(0, |(_, pipeline)| pipeline);
            (next_stage, Some(pipeline))
        } else {
            arriving += 1;
            (next_arrival, Some(arriving as u32 - 1))
        };

        if let Some(pipeline) = ready {
            let (next, end) = progress[pipeline as usize].open(trace);
            queue.push_back(Batch {
                ready: now,
                pipeline,
                next,
                end,
            });
        }
        // A finish may have left its host unsettled, and settling twice changes nothing.
        hosts[busiest].advance(now);
        while free > 0 {
            let Some(batch) = queue.front_mut() else { break };
            let chosen = asking(hosts, fleet.slots, batch.next);
            let host = &mut hosts[chosen];
            host.advance(now);
            start(trace, batch, host, slowness, now, recorder);
            host.settle(fleet.progress);
            free -= 1;
            if batch.next == batch.end {
                queue.pop_front();
            }
        }
        hosts[busiest].settle(fleet.progress);
    }
}

/// A job of the pipeline has ended; returns whether that made a stage pending.
#[inline]
pub(super) fn leave(
    trace: &Trace,
    progress: &mut [Progress],
    pending: &mut VecDeque<(f64, u32)>,
    pipeline: u32,
    now: f64,
    recorder: &mut impl Recorder,
) -> bool {
    let state = &mut progress[pipeline as usize];
    state.left -= 1;
    if state.left > 0 {
        return false;
    }
    if state.next == trace.first_job[pipeline as usize + 1] {
        recorder.completed(trace.arrival[pipeline as usize], now);
        return false;
    }
    pending.push_back((now + trace.stage_gap, pipeline));
    true
}

#[inline]
fn start(
    trace: &Trace,
    batch: &mut Batch,
    host: &mut Host,
    slowness: f64,
    now: f64,
    recorder: &mut impl Recorder,
) {
    let job = batch.next as usize;
    host.add(batch.pipeline, Demand::of(trace, job, slowness));
    recorder.started(
        batch.pipeline as usize,
        batch.ready,
        now,
        now - batch.ready + f64::from(trace.pickup[job]),
    );
    batch.next += 1;
}

/// Returns the host that asks first for a job: one of those with a free slot.
#[inline]
fn asking(hosts: &[Host], slots: usize, job: u32) -> usize {
    let free = hosts.iter().filter(|host| host.jobs() < slots).count() as u64;
    let random = ASKING.bits(u64::from(job)) >> 32;
    let chosen = (random * free) >> 32;
    let mut with_room = hosts.iter().enumerate().filter(|(_, host)| host.jobs() < slots);
    with_room.nth(chosen as usize).map_or(0, |(index, _)| index)
}
