//! Questions asked at the same time, each with its own limit; what is not answered stays an open question.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::aws::error::CallError;
use crate::cli::deployment::calls::Ground;
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::record::Record;
use crate::domain::deployment::step::Step;
use crate::domain::doctor::board::{Board, Gap, Read};
use crate::domain::doctor::check::{Check, Subject};
use crate::domain::doctor::code::{Code, Scope};
use crate::engine::port::Ids;

/// What a fix needs to reach what it mends.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    /// A host.
    Host {
        /// How to call.
        ground: Ground,
        /// The instance.
        instance: String,
        /// Name of the runner.
        agent: String,
    },
    /// The alarms of a deployment.
    Alarms {
        /// How to call.
        ground: Ground,
        /// Where.
        place: Place,
        /// The deployment.
        name: Name,
        /// Its record.
        record: Box<Record>,
        /// The steps of `up` that write alarms.
        steps: Vec<Step>,
        /// Identities of what exists.
        ids: Ids,
    },
}

/// A round of questions.
#[derive(Debug)]
pub(super) struct Survey {
    board: Mutex<Board>,
    reach: Mutex<Vec<(Subject, Reach)>>,
    codes: BTreeSet<Code>,
    /// What each question may take.
    pub(super) limit: Duration,
}

/// A panic elsewhere is no reason for one here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Survey {
    pub(super) fn new(codes: &BTreeSet<Code>, seconds: u64) -> Self {
        Self {
            board: Mutex::default(),
            reach: Mutex::default(),
            codes: codes.clone(),
            limit: Duration::from_secs(seconds),
        }
    }

    /// Asks for all chosen checks that are made for such a subject.
    pub(super) fn ask(&self, subject: &Subject, scope: Scope) {
        let mut board = locked(&self.board);
        for code in self.codes.iter().filter(|code| code.scope() == scope) {
            board.ask(subject, *code);
        }
    }

    /// Takes back what was asked of a subject.
    pub(super) fn forget(&self, subject: &Subject) {
        locked(&self.board).forget(subject);
    }

    /// Whether one of the checks was chosen.
    pub(super) fn wants(&self, which: impl Fn(Code) -> bool) -> bool {
        self.codes.iter().any(|code| which(*code))
    }

    /// Notes answers.
    pub(super) fn put(&self, checks: impl IntoIterator<Item = Check>) {
        locked(&self.board).put(checks);
    }

    /// Notes how something can be reached that may be mended.
    pub(super) fn reaches(&self, subject: &Subject, reach: Reach) {
        locked(&self.reach).push((subject.clone(), reach));
    }

    /// Reads something within the limit; `region` is where the caller lacks a permission, if it does.
    pub(super) async fn read<T>(
        &self,
        region: &Subject,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Read<T> {
        let answer = match tokio::time::timeout(self.limit, work).await {
            Err(_) => Err(Gap::Slow(self.limit.as_secs())),
            Ok(answer) => answer.map_err(Gap::Call),
        };
        if let Err(gap) = &answer {
            locked(&self.board).note(region, gap);
        }
        answer
    }

    /// Ends the round; what has no answer is unknown for this reason.
    pub(super) fn close(&self, why: &str) -> (Vec<Check>, Vec<(Subject, Reach)>) {
        let board = std::mem::take(&mut *locked(&self.board));
        let reach = std::mem::take(&mut *locked(&self.reach));
        (board.close(why), reach)
    }
}
