//! What else was looked at, and why it is not the answer.

use serde::Serialize;

use super::prediction::round;
use super::wording;
use crate::domain::sizing::recommend::Recommendation;
use crate::domain::sizing::search::{Considered, Families, Question, Reason};

/// Rejected and dearer arrangements listed besides the cheaper ones outside the allowed families.
const LISTED: usize = 12;

/// Something else that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Alternative {
    /// Type.
    pub instance_type: String,
    /// Hosts or smallest number of nodes.
    pub count: u32,
    /// Jobs at once on each that come closest to the objectives.
    pub concurrency: Option<u32>,
    /// Dollars a month, on the same terms as `cost.monthly_total`; null without a price.
    pub monthly_total: Option<String>,
    /// `chosen`, `rejected`, `borderline`, `dearer`, `tied`, `outside-list` or `not-considered`.
    pub verdict: &'static str,
    /// Why.
    pub reasons: Vec<String>,
    /// Share of late jobs.
    pub late_share: Option<f64>,
    /// Slowdown.
    pub slowdown: Option<f64>,
    /// Dollars a month less than the choice (negative: more).
    pub saving: Option<String>,
}

/// Lists the arrangements, cheapest first, then the types that could not be considered.
pub fn alternatives(question: &Question<'_>, answer: &Recommendation<'_>) -> Vec<Alternative> {
    let wait = question.profile.slo.wait_s;
    let row = |considered: &Considered, verdict: &'static str, reasons: Vec<String>| {
        let closest = considered.meets.as_ref().or(considered.evaluations.last());
        Alternative {
            instance_type: considered.instance_type.clone(),
            count: considered.count,
            concurrency: closest.map(|closest| closest.layout.per_host()),
            monthly_total: Some(considered.monthly.cents()),
            verdict,
            reasons,
            late_share: closest.map(|closest| round(closest.late.mean, 4)),
            slowdown: closest.map(|closest| round(closest.slowdown.mean, 4)),
            saving: Some((answer.monthly - considered.monthly).cents()),
        }
    };
    let mut rows = vec![(
        answer.monthly,
        row(
            &answer.chosen,
            "chosen",
            vec!["cheapest of the list that meets the objectives".to_owned()],
        ),
    )];
    // Many copies of what is far too small teach nothing: keep those that were simulated, and single ones.
    let worth = |other: &&Considered| !other.evaluations.is_empty() || other.count == 1;
    for other in answer.others.iter().filter(worth).take(LISTED) {
        let verdict = match other.reasons.first() {
            Some(Reason::Dearer) => "dearer",
            Some(Reason::TiedOnCost) => "tied",
            Some(Reason::Borderline { .. }) => "borderline",
            _ => "rejected",
        };
        let reasons = other
            .reasons
            .iter()
            .map(|reason| wording::reason(reason, wait))
            .collect();
        rows.push((other.monthly, row(other, verdict, reasons)));
    }
    for other in &answer.outside {
        let reason = format!(
            "meets the objectives (slowdown {}, {} late) but is not among the families {}",
            other
                .meets
                .as_ref()
                .map_or(String::new(), |meets| wording::ratio(meets.slowdown)),
            other
                .meets
                .as_ref()
                .map_or(String::new(), |meets| wording::percent(meets.late)),
            match question.families {
                Families::Qualified => "the vendor names",
                _ => "asked for",
            }
        );
        rows.push((other.monthly, row(other, "outside-list", vec![reason])));
    }
    rows.sort_by_key(|(monthly, row)| (*monthly, row.verdict != "chosen"));
    let mut rows: Vec<Alternative> = rows.into_iter().map(|(_, row)| row).collect();
    rows.extend(
        answer
            .refused
            .iter()
            .filter(|(_, reason)| worth_telling(reason))
            .take(LISTED)
            .map(|(name, reason)| Alternative {
                instance_type: name.clone(),
                count: 1,
                concurrency: None,
                monthly_total: None,
                verdict: "not-considered",
                reasons: vec![wording::reason(reason, wait)],
                late_share: None,
                slowdown: None,
                saving: None,
            }),
    );
    rows
}

fn worth_telling(reason: &Reason) -> bool {
    !matches!(reason, Reason::TooSmall)
}
