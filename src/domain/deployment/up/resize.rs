//! Another type and a larger disk for a host that is there.

use super::{Climb, Resize};
use crate::domain::deployment::change::Difference;
use crate::domain::deployment::name::Host;
use crate::domain::deployment::observed::{Instance, Volume};
use crate::domain::deployment::operation::Operation;
use crate::domain::deployment::report::Report;
use crate::domain::deployment::step::{Action, Block, Steps};
use crate::domain::lifecycle::script::{Ending, Work};

impl Climb<'_> {
    /// Adds what gives a host another type and a larger disk. Each step is there only while something differs, so what was
    /// interrupted goes on.
    pub(super) fn resize(
        &mut self,
        host: Host,
        it: &Instance,
        volume: Option<&Volume>,
        (size, disk): (&[Difference], &[Difference]),
        resize: Resize,
    ) {
        let spec = self.record.spec.clone();
        let address = host.address("host");
        let at = |what: &str| format!("{address}-{what}");
        let id = || it.id.clone();
        let work = |work: Work| Operation::OnHost {
            host,
            instance: it.id.clone(),
            work: Box::new(work),
        };
        // One host after the other, so that the others go on.
        let mut after: Vec<String> = self
            .steps
            .addresses(|step| step.address.ends_with("-runner") || step.address.ends_with("-grow"));
        after.push("record".to_owned());
        let running = it.state == "running";
        if let Some(volume) = volume
            && !disk.is_empty()
        {
            if volume.gib > spec.disk.gib {
                self.blocks.push(Block {
                    address: address.clone(),
                    what: format!("volume {}", volume.id),
                    why: format!("has {} GiB, and a volume cannot shrink", volume.gib),
                });
                return;
            }
            let grow = Operation::GrowVolume {
                volume: volume.id.clone(),
                disk: spec.disk.clone(),
            };
            let refs: Vec<&str> = after.iter().map(String::as_str).collect();
            let reason = "grows while it is in use";
            self.steps
                .add(at("volume"), "ec2:volume", Action::Update, reason, &refs, grow)
                .differences = disk.to_vec();
        }
        let grows = volume.is_some() && (!disk.is_empty() || resize.disk);
        if let (Some(volume), true) = (volume, grows) {
            let wait = Operation::WaitVolume {
                volume: volume.id.clone(),
                gib: spec.disk.gib,
            };
            let reason = "until its new size can be used";
            self.steps.add(
                at("volume-ready"),
                "ec2:volume",
                Action::Wait,
                reason,
                &[&at("volume")],
                wait,
            );
        }
        let grow = |steps: &mut Steps, after: &[&str]| {
            let reason = "the file system gets the size of its volume";
            let does = work(Work::Grow { gib: spec.disk.gib });
            steps.add(at("grow"), "runner", Action::Update, reason, after, does);
        };
        if running && grows {
            grow(&mut self.steps, &["record", &at("volume-ready")]);
        }
        if size.is_empty() && it.instance_type == spec.instance_type {
            if !running && grows {
                grow(&mut self.steps, &["record", &at("volume-ready"), &at("start")]);
            }
            // Interrupted between the start of the host and that of its runner.
            let stopped = self
                .observed
                .reports
                .get(&self.owner.name.report(host))
                .is_some_and(|report| Report::read(&report.it.text).stage == "stopped");
            if stopped {
                self.runner(host, it);
            }
            return;
        }
        let mut before = after;
        before.extend([at("grow"), at("volume-ready")]);
        if running {
            let refs: Vec<&str> = before.iter().map(String::as_str).collect();
            let reason = match resize.ending {
                Ending::Now => "running jobs are aborted".to_owned(),
                Ending::Within(seconds) => format!("jobs finish, {} minutes at most", seconds / 60),
            };
            let does = work(Work::Stop(resize.ending));
            self.steps
                .add(at("drain"), "runner", Action::Update, reason, &refs, does);
            let stop = Operation::Stop { instance: id() };
            self.steps.add(
                at("stop"),
                "ec2:instance",
                Action::Update,
                "stops the host",
                &[&at("drain")],
                stop,
            );
        }
        if it.state != "stopped" {
            let wait = Operation::WaitStopped { instance: id() };
            let reason = "until the host is stopped";
            self.steps.add(
                at("stopped"),
                "ec2:instance",
                Action::Wait,
                reason,
                &[&at("stop")],
                wait,
            );
        }
        let refs: Vec<&str> = before.iter().map(String::as_str).collect();
        let set = Operation::SetType {
            instance: id(),
            instance_type: spec.instance_type.clone(),
        };
        let mut after_stop = refs;
        let stopped = at("stopped");
        after_stop.push(&stopped);
        self.steps
            .add(
                at("type"),
                "ec2:instance",
                Action::Update,
                "another type",
                &after_stop,
                set,
            )
            .differences = Difference::of("InstanceType", &it.instance_type, &spec.instance_type)
            .into_iter()
            .collect();
        if !matches!(it.state.as_str(), "stopped" | "stopping") {
            let start = Operation::Start { instance: id() };
            self.steps.add(
                at("start"),
                "ec2:instance",
                Action::Update,
                "starts the host",
                &[&at("type")],
                start,
            );
        }
        if !running && grows {
            grow(&mut self.steps, &["record", &at("volume-ready"), &at("type")]);
        }
        self.runner(host, it);
    }

    /// Adds the start of a runner that was stopped for a while.
    fn runner(&mut self, host: Host, it: &Instance) {
        let address = host.address("host");
        let does = Operation::OnHost {
            host,
            instance: it.id.clone(),
            work: Box::new(Work::Start),
        };
        let after = [
            format!("{address}-start"),
            format!("{address}-type"),
            format!("{address}-grow"),
        ];
        let refs: Vec<&str> = after.iter().map(String::as_str).collect();
        let reason = "the runner starts again and asks for jobs";
        self.steps.add(
            format!("{address}-runner"),
            "runner",
            Action::Update,
            reason,
            &refs,
            does,
        );
    }
}
