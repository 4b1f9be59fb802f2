//! When pipelines arrive: people by the hour of the week, schedules on a comb of minutes.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::rows::NEVER;
use super::times::Millis;

const MINUTE: Millis = 60_000;
const QUARTER: Millis = 15 * MINUTE;

/// A number with its standard error.
pub type Measured = (f64, f64);

/// What the creation times say.
#[derive(Clone, Debug)]
pub struct ArrivalFit {
    /// Pipelines counted.
    pub pipelines: u64,
    /// Days between the first and the last.
    pub days: f64,
    /// Longest time without any, days.
    pub longest_gap_days: f64,
    /// Pipelines of a weekday.
    pub per_weekday: Option<Measured>,
    /// Share of a weekday's pipelines that schedules start.
    pub scheduled_share: Option<Measured>,
    /// The same over all days of the week.
    pub scheduled_share_all_days: Option<Measured>,
    /// Interactive pipelines of a weekend day relative to a weekday.
    pub weekend_factor: Option<Measured>,
    /// Scheduled ones.
    pub scheduled_weekend_factor: Option<Measured>,
    /// Weights of the hours, people; mean 1.
    pub hours_interactive: Option<[f64; 24]>,
    /// Weights of the hours, schedules; mean 1.
    pub hours_scheduled: Option<[f64; 24]>,
    /// The comb of the schedules.
    pub comb: Option<Comb>,
    /// Whether the export named the source of the pipelines.
    pub by_source: bool,
    /// Pipelines an hour for the 168 hours of the week from Monday 00:00, shrunk towards the shape of the day.
    pub hour_of_week: Vec<f64>,
    /// Weight of the shape of the day in pseudo-pipelines; large when every weekday is alike.
    pub shrinkage: f64,
    /// Variance of the daily counts over their mean; 1 for chance alone.
    pub dispersion: f64,
}

/// Minutes at which schedules fire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comb {
    /// Distance of the teeth in minutes.
    pub grid: u32,
    /// First tooth after the full hour, minutes.
    pub offset: u32,
    /// Minutes after a tooth that belong to it.
    pub width: u32,
    /// Estimated spread in seconds after the tooth.
    pub jitter_s: Measured,
}

impl Comb {
    /// Seconds since the last tooth.
    fn phase(&self, second_of_hour: f64) -> f64 {
        let grid = f64::from(self.grid) * 60.0;
        (second_of_hour - f64::from(self.offset) * 60.0).rem_euclid(grid)
    }

    fn holds(&self, second_of_hour: f64) -> bool {
        self.phase(second_of_hour) < f64::from(self.width) * 60.0
    }

    /// Share of the hour within the teeth.
    fn share(&self) -> f64 {
        f64::from(self.width) / f64::from(self.grid)
    }
}

#[derive(Clone, Copy)]
struct Arrival {
    bin: usize,
    day: i64,
    second_of_hour: f64,
    scheduled: Option<bool>,
}

/// Fits the arrivals; `births` and `sources` are by pipeline, `skip` marks those that began before the export.
pub fn fit(
    births: &[Millis],
    sources: &[Option<bool>],
    skip: &dyn Fn(usize) -> bool,
    zone: &TimeZone,
) -> Option<ArrivalFit> {
    let mut times: Vec<Millis> = Vec::new();
    let mut arrivals = Vec::new();
    for (pipeline, at) in births.iter().enumerate() {
        if *at == NEVER || skip(pipeline) {
            continue;
        }
        let local = at + offset_ms(*at, zone);
        times.push(*at);
        arrivals.push(Arrival {
            bin: bin(local),
            day: local.div_euclid(24 * 60 * MINUTE),
            second_of_hour: local.rem_euclid(60 * MINUTE) as f64 / 1000.0,
            scheduled: sources[pipeline],
        });
    }
    times.sort_unstable();
    let (first, last) = (*times.first()?, *times.last()?);
    let longest_gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    let (exposure, days) = exposure(first, last, zone);
    let known = arrivals.iter().filter(|a| a.scheduled.is_some()).count();
    // A source column that is nearly always empty says nothing.
    let by_source = known * 2 > arrivals.len();
    let comb = find_comb(&arrivals, by_source);
    let mut tallies = Tallies::new(&arrivals, comb, by_source);
    tallies.exposure = exposure;
    Some(tallies.finish(
        &arrivals,
        comb,
        by_source,
        &days,
        (last - first) as f64 / 86_400_000.0,
        longest_gap as f64 / 86_400_000.0,
    ))
}

fn offset_ms(at: Millis, zone: &TimeZone) -> Millis {
    Timestamp::from_millisecond(at).map_or(0, |at| Millis::from(zone.to_offset(at).seconds()) * 1000)
}

/// Returns the hour of the week of a local time; 1970-01-01 was a Thursday.
fn bin(local: Millis) -> usize {
    (local.div_euclid(60 * MINUTE) + 3 * 24).rem_euclid(168) as usize
}

fn weekend(bin: usize) -> bool {
    bin >= 120
}

/// Returns how many hours of each of the 168 bins lie between two instants, and of each local day of the last year.
fn exposure(first: Millis, last: Millis, zone: &TimeZone) -> ([f64; 168], Vec<(i64, f64)>) {
    const WEEK: Millis = 7 * 24 * 60 * MINUTE;
    // Of many years, whole weeks are counted at once but for the last; the changes of the clock even out.
    let whole = if last - first > 156 * WEEK {
        (last - first) / WEEK - 52
    } else {
        0
    };
    let mut bins = [whole as f64; 168];
    let mut days: Vec<(i64, f64)> = Vec::new();
    let first = first + whole * WEEK;
    let mut at = first.div_euclid(QUARTER) * QUARTER;
    while at < last {
        let hours = ((at + QUARTER).min(last) - at.max(first)) as f64 / (60 * MINUTE) as f64;
        let local = at + offset_ms(at, zone);
        bins[bin(local)] += hours;
        let day = local.div_euclid(24 * 60 * MINUTE);
        match days.last_mut() {
            Some((known, sum)) if *known == day => *sum += hours,
            _ => days.push((day, hours)),
        }
        at += QUARTER;
    }
    (bins, days)
}

/// Finds the teeth: minutes of the hour with more arrivals than chance gives, evenly spaced.
fn find_comb(arrivals: &[Arrival], by_source: bool) -> Option<Comb> {
    let considered = || {
        arrivals
            .iter()
            .filter(|a| !by_source || a.scheduled == Some(true))
    };
    let mut minutes = [0.0f64; 60];
    for arrival in considered() {
        minutes[(arrival.second_of_hour / 60.0) as usize % 60] += 1.0;
    }
    let mut sorted = minutes;
    sorted.sort_unstable_by(f64::total_cmp);
    let base = 0.5 * (sorted[29] + sorted[30]);
    let hot = |minute: usize| minutes[minute % 60] > base + 4.0 * (base + 1.0).sqrt();
    let excess = |minute: usize| minutes[minute % 60] - base;
    let largest = (0..60).map(excess).fold(0.0, f64::max);
    // The finest comb whose every tooth stands out and is not dwarfed by another.
    for grid in [5usize, 10, 15, 20, 30, 60] {
        let best = (0..grid)
            .filter(|offset| !hot((offset + 59) % 60))
            .filter(|offset| {
                (0..60 / grid).all(|k| hot(offset + k * grid) && excess(offset + k * grid) >= 0.25 * largest)
            })
            .max_by(|a, b| {
                let total = |offset: usize| (0..60 / grid).map(|k| excess(offset + k * grid)).sum::<f64>();
                total(*a).total_cmp(&total(*b))
            });
        let Some(offset) = best else { continue };
        let mut width = 1;
        while width < grid / 2 && (0..60 / grid).any(|k| hot(offset + width + k * grid)) {
            width += 1;
        }
        let mut comb = Comb {
            grid: grid as u32,
            offset: offset as u32,
            width: width as u32,
            jitter_s: (0.0, 0.0),
        };
        comb.jitter_s = jitter(&comb, considered());
        return Some(comb);
    }
    None
}

/// Twice the mean phase within the teeth, after the people who happened to start then are taken out.
fn jitter<'a>(comb: &Comb, arrivals: impl Iterator<Item = &'a Arrival>) -> Measured {
    let span = f64::from(comb.width) * 60.0;
    let (mut inside, mut outside, mut phases) = (0.0, 0.0, 0.0);
    for arrival in arrivals {
        if comb.holds(arrival.second_of_hour) {
            inside += 1.0;
            phases += comb.phase(arrival.second_of_hour);
        } else {
            outside += 1.0;
        }
    }
    let people = outside * comb.share() / (1.0 - comb.share());
    let excess: f64 = inside - people;
    if excess < 1.0 {
        return (span, span);
    }
    let jitter = (2.0 * (phases - people * span / 2.0) / excess).clamp(0.0, span);
    (jitter, 2.0 * span / 12f64.sqrt() * inside.sqrt() / excess)
}

struct Tallies {
    exposure: [f64; 168],
    all: [f64; 168],
    scheduled: [f64; 168],
    /// Factor by which chance in a scheduled count is larger than Poisson: 1 when the source is known.
    widening: f64,
}

impl Tallies {
    fn new(arrivals: &[Arrival], comb: Option<Comb>, by_source: bool) -> Self {
        let mut tallies = Self {
            exposure: [0.0; 168],
            all: [0.0; 168],
            scheduled: [0.0; 168],
            widening: 1.0,
        };
        let share = comb.map_or(0.0, |comb| comb.share());
        let ratio = share / (1.0 - share);
        for arrival in arrivals {
            tallies.all[arrival.bin] += 1.0;
            tallies.scheduled[arrival.bin] += match (by_source, comb) {
                (true, _) => f64::from(u8::from(arrival.scheduled == Some(true))),
                // Each arrival between the teeth stands for `ratio` people inside them.
                (false, Some(comb)) if comb.holds(arrival.second_of_hour) => 1.0,
                (false, Some(_)) => -ratio,
                (false, None) => 0.0,
            };
        }
        if !by_source {
            tallies.widening = 1.0 + ratio;
        }
        tallies
    }

    fn finish(
        self,
        arrivals: &[Arrival],
        comb: Option<Comb>,
        by_source: bool,
        days: &[(i64, f64)],
        span_days: f64,
        longest_gap_days: f64,
    ) -> ArrivalFit {
        let dispersion = dispersion(arrivals, days);
        let mut people = [0.0; 168];
        for (bin, value) in people.iter_mut().enumerate() {
            *value = self.all[bin] - self.scheduled[bin];
        }
        let weekday_hours = (0..120).map(|bin| self.exposure[bin]).sum::<f64>();
        let per_day = |counts: &[f64; 168], weekends: bool| daily(counts, &self.exposure, weekends);
        let total = |counts: &[f64; 168], weekends: bool| {
            (0..168)
                .filter(|bin| weekend(*bin) == weekends)
                .map(|bin| counts[bin])
                .sum::<f64>()
        };
        let people_weekday = per_day(&people, false);
        let scheduled_weekday = per_day(&self.scheduled, false);
        let per_weekday = people_weekday.zip(scheduled_weekday).map(|(a, b)| {
            let n = total(&self.all, false).max(1.0);
            let rate = (a + b).max(0.0);
            (rate, rate * (dispersion.max(1.0) / n).sqrt())
        });
        let visible = by_source || comb.is_some();
        let share = |part: f64, whole: f64, n: f64| {
            let value = (part / whole).clamp(0.0, 1.0);
            (value, self.widening * (value * (1.0 - value) / n.max(1.0)).sqrt())
        };
        let scheduled_share = scheduled_weekday.zip(per_weekday).and_then(|(part, (whole, _))| {
            (whole > 0.0).then(|| share(part, whole, total(&self.all, false)))
        });
        let n = arrivals.len() as f64;
        let scheduled_total = total(&self.scheduled, false) + total(&self.scheduled, true);
        let factor = |counts: &[f64; 168]| {
            let (weekday, weekend_day) = (per_day(counts, false)?, per_day(counts, true)?);
            let (many, few) = (total(counts, false), total(counts, true));
            if weekday <= 0.0 || many < 10.0 {
                return None;
            }
            let value = (weekend_day / weekday).max(0.0);
            let relative = self.widening * dispersion.max(1.0);
            let error = value.max(1.0 / many) * (relative * (1.0 / many + 1.0 / few.max(1.0))).sqrt();
            Some((value, error))
        };
        let weekend_factor = factor(&people);
        let scheduled_weekend_factor = if visible { factor(&self.scheduled) } else { None };
        let weights = |counts: &[f64; 168], factor: Option<Measured>| {
            hours(counts, &self.exposure, factor.map_or(1.0, |(value, _)| value))
        };
        let (hour_of_week, shrinkage) = shrink(&self.all, &self.exposure);
        ArrivalFit {
            pipelines: arrivals.len() as u64,
            days: span_days,
            longest_gap_days,
            per_weekday: per_weekday.filter(|_| weekday_hours >= 1.0),
            scheduled_share: scheduled_share.filter(|_| visible || n >= 300.0),
            scheduled_share_all_days: (visible && n > 0.0).then(|| share(scheduled_total, n, n)),
            weekend_factor,
            scheduled_weekend_factor,
            hours_interactive: weights(&people, weekend_factor),
            hours_scheduled: if visible {
                weights(&self.scheduled, scheduled_weekend_factor)
            } else {
                None
            },
            comb,
            by_source,
            hour_of_week,
            shrinkage,
            dispersion,
        }
    }
}

/// Returns the count of a whole day of one kind: each hour of the day over the time it was watched.
///
/// Hours that were never watched are taken to be like the others, so a few hours of data extrapolate.
fn daily(counts: &[f64; 168], exposure: &[f64; 168], weekends: bool) -> Option<f64> {
    let (mut sum, mut seen) = (0.0, 0.0);
    for hour in 0..24 {
        let bins = (0..168).filter(|bin| weekend(*bin) == weekends && bin % 24 == hour);
        let (count, watched) = bins.fold((0.0, 0.0), |(c, w), bin| (c + counts[bin], w + exposure[bin]));
        if watched > 0.2 {
            sum += count / watched;
            seen += 1.0;
        }
    }
    (seen >= 1.0).then(|| sum * 24.0 / seen)
}

/// Returns the weights of the 24 hours, mean 1; weekdays and weekends share one shape.
///
/// Half a pipeline of prior in each hour, spread like its neighbours: an hour that happened to stay empty for two
/// weeks is rare, not impossible.
fn hours(counts: &[f64; 168], exposure: &[f64; 168], factor: f64) -> Option<[f64; 24]> {
    let (mut n, mut watched) = ([0.0f64; 24], [0.0f64; 24]);
    for bin in 0..168 {
        n[bin % 24] += counts[bin];
        watched[bin % 24] += exposure[bin] * if weekend(bin) { factor } else { 1.0 };
    }
    let total: f64 = n.iter().sum();
    if total < 20.0 || watched.iter().any(|w| *w < 0.2) {
        return None;
    }
    let rate = |hour: usize| n[hour % 24].max(0.0) / watched[hour % 24];
    let mean = (0..24).map(rate).sum::<f64>() / 24.0;
    let mut weights = [0.0; 24];
    for (hour, weight) in weights.iter_mut().enumerate() {
        let nearby = (0.25 * rate(hour + 23) + 0.5 * rate(hour) + 0.25 * rate(hour + 1)).max(0.01 * mean);
        *weight = (n[hour].max(0.0) + 0.5) / (watched[hour] + 0.5 / nearby);
    }
    let sum: f64 = weights.iter().sum();
    (sum > 0.0).then(|| weights.map(|weight| weight * 24.0 / sum))
}

/// Shrinks the 168 bins towards the shape of the day of their kind: gamma-Poisson, strength by moments.
fn shrink(counts: &[f64; 168], exposure: &[f64; 168]) -> (Vec<f64>, f64) {
    let mut expected = [0.0; 168];
    for weekends in [false, true] {
        for hour in 0..24 {
            let bins = || (0..168).filter(|bin| weekend(*bin) == weekends && bin % 24 == hour);
            let watched: f64 = bins().map(|bin| exposure[bin]).sum();
            let count: f64 = bins().map(|bin| counts[bin]).sum();
            for bin in bins() {
                expected[bin] = if watched > 0.0 { count / watched } else { 0.0 };
            }
        }
    }
    // Var(n) = m + m^2 / k for a gamma with shape k around m.
    let (mut squares, mut surplus) = (0.0, 0.0);
    for bin in 0..168 {
        let mean = expected[bin] * exposure[bin];
        squares += mean * mean;
        surplus += (counts[bin] - mean).powi(2) - mean;
    }
    let shape = if surplus > 0.0 {
        (squares / surplus).clamp(0.1, 1e6)
    } else {
        1e6
    };
    let rates = (0..168)
        .map(|bin| {
            let mean = expected[bin];
            if mean > 0.0 {
                (counts[bin] + shape) / (exposure[bin] + shape / mean)
            } else {
                0.0
            }
        })
        .collect();
    (rates, shape)
}

/// Returns the variance of the counts of whole days over what chance gives, weekdays and weekends apart.
fn dispersion(arrivals: &[Arrival], days: &[(i64, f64)]) -> f64 {
    let mut counts: Vec<(i64, f64)> = days
        .iter()
        .filter(|(_, hours)| *hours > 22.5)
        .map(|(day, _)| (*day, 0.0))
        .collect();
    for arrival in arrivals {
        if let Ok(place) = counts.binary_search_by_key(&arrival.day, |(day, _)| *day) {
            counts[place].1 += 1.0;
        }
    }
    let (mut chi, mut freedom) = (0.0, 0.0);
    for weekends in [false, true] {
        let group: Vec<f64> = counts
            .iter()
            .filter(|(day, _)| ((day + 3).rem_euclid(7) >= 5) == weekends)
            .map(|(_, count)| *count)
            .collect();
        let mean = group.iter().sum::<f64>() / group.len().max(1) as f64;
        if group.len() >= 2 && mean > 0.0 {
            chi += group
                .iter()
                .map(|count| (count - mean).powi(2) / mean)
                .sum::<f64>();
            freedom += group.len() as f64 - 1.0;
        }
    }
    if freedom >= 3.0 { chi / freedom } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_begins_on_monday() {
        // 2024-06-03 was a Monday.
        assert_eq!(bin(1_717_372_800_000), 0);
        assert_eq!(bin(1_717_372_800_000 - 1), 167);
    }

    #[test]
    fn a_day_of_23_hours_is_watched_for_23_hours() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let day = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let (bins, days) = exposure(day("2024-03-30T23:00:00Z"), day("2024-03-31T22:00:00Z"), &berlin);
        assert!((bins.iter().sum::<f64>() - 23.0).abs() < 1e-9);
        assert_eq!(days.len(), 1);
        // Sunday 02:00 did not happen.
        assert_eq!(bins[6 * 24 + 2], 0.0);
        assert_eq!(bins[6 * 24 + 3], 1.0);
    }

    fn every(seconds: &[f64]) -> Vec<Arrival> {
        seconds
            .iter()
            .map(|second| Arrival {
                bin: 0,
                day: 0,
                second_of_hour: *second,
                scheduled: None,
            })
            .collect()
    }

    #[test]
    fn combs_are_told_from_people() {
        // Ten people in each minute, and 200 schedules at each tooth within 45 s.
        let people: Vec<f64> = (0..600).map(|i| f64::from(i) * 6.0).collect();
        assert!(find_comb(&every(&people), false).is_none());
        for (grid, offset) in [(60, 0), (30, 0), (20, 7), (15, 3), (10, 3), (5, 0)] {
            let mut all = people.clone();
            for tooth in 0..60 / grid {
                for i in 0..200 {
                    all.push(f64::from(60 * (offset + tooth * grid)) + 45.0 * f64::from(i) / 200.0);
                }
            }
            let comb = find_comb(&every(&all), false).unwrap();
            assert_eq!(
                (comb.grid, comb.offset, comb.width),
                (grid, offset, 1),
                "{comb:?}"
            );
            assert!((comb.jitter_s.0 - 45.0).abs() < 3.0, "{comb:?}");
        }
    }
}
