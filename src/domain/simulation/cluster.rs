//! Node groups that grow and shrink: the same replay with pods on nodes instead of slots on hosts.
//!
//! A pod that fits nowhere waits; at its next scan the autoscaler asks for as many nodes as the waiting pods need
//! beyond those already on the way. A node that has been empty long enough goes, never below the minimum.

use std::collections::VecDeque;

use super::super::contention::ProgressTable;
use super::super::workload::Trace;
use super::least::Least;
use super::replay::{Batch, Demand, Host, Progress, Recorder};

/// A managed node group of one instance type.
#[derive(Clone, Copy, Debug)]
pub struct NodeGroup<'a> {
    /// Smallest number of nodes; these are ready from the start.
    pub min: usize,
    /// Largest number of nodes.
    pub max: usize,
    /// Job pods that fit a node.
    pub pods: usize,
    /// Speed of a thread relative to the reference thread.
    pub speed: f64,
    /// Progress of pods that share a node.
    pub progress: &'a ProgressTable,
    /// Seconds between two looks of the autoscaler.
    pub scan_s: f64,
    /// Seconds from the request until a node is ready.
    pub node_ready_s: f64,
    /// Seconds an empty node stays.
    pub idle_s: f64,
    /// Seconds to start a pod.
    pub pod_start_s: f64,
    /// Extra seconds for the first pod of a node that was added.
    pub first_pod_s: f64,
}

/// What a node group did besides running jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NodeUse {
    /// Sum over nodes of the time from request to removal within the arrival window, seconds.
    pub node_seconds: f64,
    /// Nodes added by the autoscaler.
    pub launches: u64,
    /// Most nodes at once.
    pub peak: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    host: Host,
    since: f64,
    idle_since: f64,
    fresh: bool,
}

/// The nodes there are, and which of them is next to finish a pod, to be filled and to go.
struct Nodes<'a> {
    group: &'a NodeGroup<'a>,
    all: Vec<Node>,
    /// Next finish of each node.
    finish: Least,
    /// Pods of each node with room for one more.
    room: Least,
    /// When each empty node has been empty for long enough.
    idle: Least,
}

impl<'a> Nodes<'a> {
    fn new(group: &'a NodeGroup<'a>) -> Self {
        let mut nodes = Self {
            group,
            all: Vec::new(),
            finish: Least::new(group.min),
            room: Least::new(group.min),
            idle: Least::new(group.min),
        };
        for _ in 0..group.min {
            nodes.add(0.0, 0.0, false);
        }
        nodes
    }

    /// Adds a node that was asked for at `asked` and starts to work at `ready`.
    fn add(&mut self, asked: f64, ready: f64, fresh: bool) {
        let mut node = Node {
            since: asked,
            idle_since: ready,
            fresh,
            ..Node::default()
        };
        node.host.reset();
        // A host's clock starts with the node.
        node.host.advance(ready);
        self.all.push(node);
        self.rank(self.all.len() - 1);
    }

    /// Enters a node anew everywhere.
    fn rank(&mut self, index: usize) {
        self.finish.set(index, self.all[index].host.next);
        self.rank_room(index);
        self.rank_idle(index);
    }

    #[inline]
    fn rank_room(&mut self, index: usize) {
        let jobs = self.all[index].host.jobs();
        let key = if jobs < self.group.pods {
            jobs as f64
        } else {
            f64::INFINITY
        };
        self.room.set(index, key);
    }

    #[inline]
    fn rank_idle(&mut self, index: usize) {
        let node = &self.all[index];
        let key = if node.host.jobs() == 0 {
            node.idle_since + self.group.idle_s
        } else {
            f64::INFINITY
        };
        self.idle.set(index, key);
    }

    /// Ends the pod that is next to finish; returns its pipeline.
    #[inline]
    fn finish(&mut self, now: f64) -> Option<u32> {
        let index = self.finish.index();
        let node = &mut self.all[index];
        let done = node.host.take(now);
        node.host.settle(self.group.progress);
        node.idle_since = now;
        self.finish.set(index, node.host.next);
        self.rank_room(index);
        if self.all[index].host.jobs() == 0 {
            self.rank_idle(index);
        }
        done.map(|done| done.pipeline)
    }

    /// Removes the first node that has been empty for long enough; returns when it was asked for.
    fn remove_idle(&mut self, now: f64) -> Option<f64> {
        let gone = |node: &Node| node.host.jobs() == 0 && node.idle_since + self.group.idle_s <= now;
        let index = self.all.iter().position(gone)?;
        let node = self.all.swap_remove(index);
        let last = self.all.len();
        for order in [&mut self.finish, &mut self.room, &mut self.idle] {
            order.set(last, f64::INFINITY);
        }
        if index < last {
            self.rank(index);
        }
        Some(node.since)
    }

    /// Starts waiting pods where there is room.
    #[inline]
    fn place(
        &mut self,
        trace: &Trace,
        slowness: f64,
        now: f64,
        queue: &mut VecDeque<Batch>,
        recorder: &mut impl Recorder,
    ) {
        while let Some(batch) = queue.front_mut() {
            if self.room.key() == f64::INFINITY {
                break;
            }
            let index = self.room.index();
            let node = &mut self.all[index];
            let job = batch.next as usize;
            let first = if node.fresh { self.group.first_pod_s } else { 0.0 };
            let start = self.group.pod_start_s + first;
            node.fresh = false;
            let demand = Demand::of(trace, job, slowness);
            node.host.advance(now);
            node.host.add(
                batch.pipeline,
                Demand {
                    work: demand.work + start,
                    ..demand
                },
            );
            node.host.settle(self.group.progress);
            let wait = now - batch.ready + f64::from(trace.pickup[job]) + start;
            recorder.started(batch.pipeline as usize, batch.ready, now, wait);
            batch.next += 1;
            if batch.next == batch.end {
                queue.pop_front();
            }
            self.finish.set(index, node.host.next);
            self.rank_room(index);
            if self.all[index].host.jobs() == 1 {
                self.rank_idle(index);
            }
        }
    }
}

/// Replays the whole trace until the last job has ended.
///
/// Pods go to the ready node with the fewest job pods, as the Kubernetes scheduler's default scoring does.
pub fn replay_nodes(trace: &Trace, group: &NodeGroup<'_>, recorder: &mut impl Recorder) -> NodeUse {
    let slowness = 1.0 / group.speed;
    let mut nodes = Nodes::new(group);
    // Requests on their way: when asked, when ready; in order of both.
    let mut coming: VecDeque<(f64, f64)> = VecDeque::new();
    let mut progress: Vec<Progress> = trace.first_job[..trace.pipelines()]
        .iter()
        .map(|job| Progress { next: *job, left: 0 })
        .collect();
    let mut queue: VecDeque<Batch> = VecDeque::new();
    let mut pending: VecDeque<(f64, u32)> = VecDeque::new();
    let mut usage = NodeUse {
        peak: group.min,
        ..NodeUse::default()
    };
    let mut arriving = 0;
    let mut next_scan = f64::INFINITY;
    let mut clock = 0.0_f64;
    loop {
        let next_arrival = trace.arrival.get(arriving).copied().unwrap_or(f64::INFINITY);
        let next_stage = pending.front().map_or(f64::INFINITY, |(at, _)| *at);
        let next_node = coming.front().map_or(f64::INFINITY, |(_, ready)| *ready);
        let next_finish = nodes.finish.key();
        let next_idle = if nodes.all.len() > group.min {
            // The minimum may have kept a node for longer.
            nodes.idle.key().max(clock)
        } else {
            f64::INFINITY
        };
        let work = next_finish.min(next_stage).min(next_arrival);
        let now = work.min(next_node).min(next_scan).min(next_idle);
        if work == f64::INFINITY && queue.is_empty() {
            break;
        }
        if now == f64::INFINITY {
            break;
        }
        clock = now;
        if now == next_finish {
            if let Some(pipeline) = nodes.finish(now) {
                recorder.finished(now);
                let state = &mut progress[pipeline as usize];
                state.left -= 1;
                if state.left == 0 {
                    if state.next == trace.first_job[pipeline as usize + 1] {
                        recorder.completed(trace.arrival[pipeline as usize], now);
                    } else {
                        pending.push_back((now + trace.stage_gap, pipeline));
                    }
                }
            }
        } else if now == next_node {
            if let Some((asked, ready)) = coming.pop_front() {
                nodes.add(asked, ready, true);
            }
        } else if now == next_stage || now == next_arrival {
            let pipeline = if now == next_stage {
                pending.pop_front().map_or(0, |(_, pipeline)| pipeline)
            } else {
                arriving += 1;
                arriving as u32 - 1
            };
            let (next, end) = progress[pipeline as usize].open(trace);
            queue.push_back(Batch {
                ready: now,
                pipeline,
                next,
                end,
            });
        } else if now == next_scan {
            let waiting: usize = queue.iter().map(|batch| (batch.end - batch.next) as usize).sum();
            let promised = coming.len() * group.pods;
            let missing = waiting.saturating_sub(promised).div_ceil(group.pods.max(1));
            let room = group.max.saturating_sub(nodes.all.len() + coming.len());
            for _ in 0..missing.min(room) {
                coming.push_back((now, now + group.node_ready_s));
                usage.launches += 1;
            }
            usage.peak = usage.peak.max(nodes.all.len() + coming.len());
        } else if let Some(since) = nodes.remove_idle(now) {
            usage.node_seconds += (now.min(trace.horizon) - since).max(0.0);
        }

        if !queue.is_empty() {
            nodes.place(trace, slowness, now, &mut queue, recorder);
        }
        let may_grow = !queue.is_empty() && nodes.all.len() + coming.len() < group.max;
        next_scan = match (may_grow, next_scan > now && next_scan.is_finite()) {
            (false, _) => f64::INFINITY,
            (true, true) => next_scan,
            (true, false) => ((now / group.scan_s).floor() + 1.0) * group.scan_s,
        };
    }
    let horizon = trace.horizon.max(f64::MIN_POSITIVE);
    let left = nodes
        .all
        .iter()
        .map(|node| node.since)
        .chain(coming.iter().map(|(asked, _)| *asked));
    usage.node_seconds += left.map(|since| (horizon - since).max(0.0)).sum::<f64>();
    usage
}
