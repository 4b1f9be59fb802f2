//! Node groups that grow and shrink: the same replay with pods on nodes instead of slots on hosts.
//!
//! A pod that fits nowhere waits; at its next scan the autoscaler asks for as many nodes as the waiting pods need
//! beyond those already on the way. A node that has been empty long enough goes, never below the minimum.

use std::collections::VecDeque;

use super::super::contention::ProgressTable;
use super::super::workload::Trace;
use super::replay::{Batch, Demand, Host, Progress, Recorder, leave};

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

/// Replays the whole trace until the last job has ended.
///
/// Pods go to the ready node with the fewest job pods, as the Kubernetes scheduler's default scoring does.
pub fn replay_nodes(trace: &Trace, group: &NodeGroup<'_>, recorder: &mut impl Recorder) -> NodeUse {
    let slowness = 1.0 / group.speed;
    let new_node = |since: f64, fresh: bool| {
        let mut node = Node {
            since,
            idle_since: since,
            fresh,
            ..Node::default()
        };
        node.host.reset();
        // A host's clock starts with the node.
        node.host.advance(since);
        node.host.settle(group.progress);
        node
    };
    let mut nodes: Vec<Node> = (0..group.min).map(|_| new_node(0.0, false)).collect();
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
    let mut end = 0.0_f64;
    loop {
        let next_arrival = trace.arrival.get(arriving).copied().unwrap_or(f64::INFINITY);
        let next_stage = pending.front().map_or(f64::INFINITY, |(at, _)| *at);
        let next_node = coming.front().map_or(f64::INFINITY, |(_, ready)| *ready);
        let (mut which, mut next_finish, mut next_idle) = (0, f64::INFINITY, f64::INFINITY);
        for (index, node) in nodes.iter().enumerate() {
            if node.host.next < next_finish {
                (which, next_finish) = (index, node.host.next);
            }
            if nodes.len() > group.min && node.host.jobs() == 0 {
                next_idle = next_idle.min(node.idle_since + group.idle_s);
            }
        }
        let work = next_finish.min(next_stage).min(next_arrival);
        // The minimum may have kept an empty node for longer than it would stay now.
        let now = work.min(next_node).min(next_scan).min(next_idle.max(end));
        if work == f64::INFINITY && queue.is_empty() {
            break;
        }
        if now == f64::INFINITY {
            break;
        }
        end = now;
        if now == next_finish {
            let node = &mut nodes[which];
            if let Some(done) = node.host.take(now) {
                recorder.finished(now);
                leave(trace, &mut progress, &mut pending, done.pipeline, now, recorder);
            }
            node.host.settle(group.progress);
            node.idle_since = now;
        } else if now == next_node {
            if let Some((asked, ready)) = coming.pop_front() {
                let mut node = new_node(ready, true);
                node.since = asked;
                nodes.push(node);
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
            let room = group.max.saturating_sub(nodes.len() + coming.len());
            for _ in 0..missing.min(room) {
                coming.push_back((now, now + group.node_ready_s));
                usage.launches += 1;
            }
            usage.peak = usage.peak.max(nodes.len() + coming.len());
        } else {
            let gone = nodes
                .iter()
                .position(|node| node.host.jobs() == 0 && node.idle_since + group.idle_s <= now);
            if let Some(index) = gone {
                let node = nodes.swap_remove(index);
                usage.node_seconds += (now.min(trace.horizon) - node.since).max(0.0);
            }
        }

        if !queue.is_empty() {
            place(trace, group, slowness, now, &mut nodes, &mut queue, recorder);
        }
        let may_grow = !queue.is_empty() && nodes.len() + coming.len() < group.max;
        next_scan = match (may_grow, next_scan > now && next_scan.is_finite()) {
            (false, _) => f64::INFINITY,
            (true, true) => next_scan,
            (true, false) => ((now / group.scan_s).floor() + 1.0) * group.scan_s,
        };
    }
    let horizon = trace.horizon.max(f64::MIN_POSITIVE);
    let left = nodes
        .iter()
        .map(|node| node.since)
        .chain(coming.iter().map(|(asked, _)| *asked));
    usage.node_seconds += left.map(|since| (horizon - since).max(0.0)).sum::<f64>();
    usage
}

fn place(
    trace: &Trace,
    group: &NodeGroup<'_>,
    slowness: f64,
    now: f64,
    nodes: &mut [Node],
    queue: &mut VecDeque<Batch>,
    recorder: &mut impl Recorder,
) {
    while let Some(batch) = queue.front_mut() {
        let fits = nodes.iter_mut().filter(|node| node.host.jobs() < group.pods);
        let Some(node) = fits.min_by_key(|node| node.host.jobs()) else {
            break;
        };
        let job = batch.next as usize;
        let start = group.pod_start_s + if node.fresh { group.first_pod_s } else { 0.0 };
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
        node.host.settle(group.progress);
        let wait = now - batch.ready + f64::from(trace.pickup[job]) + start;
        recorder.started(batch.pipeline as usize, batch.ready, now, wait);
        batch.next += 1;
        if batch.next == batch.end {
            queue.pop_front();
        }
    }
}
