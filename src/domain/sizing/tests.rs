//! Decisions against the reference model.

use super::evaluate::{Evaluator, Layout};
use super::search::{Families, Found, Question};
use crate::domain::catalog::Catalog;
use crate::domain::profile::{Profile, Target, builtin};

fn decide(profile: &Profile, target: Target, families: Families, check: impl FnOnce(&Found<'_>)) {
    let catalog = Catalog::embedded("us-east-1").expect("known");
    let question = Question {
        profile,
        catalog: &catalog,
        target,
        families,
        strict_minimums: false,
        seed: 1,
        threads: 2,
    };
    let mut evaluator = Evaluator::new(profile, 1, 2);
    let (offers, _) = question.offers(300, &evaluator);
    let t = std::time::Instant::now();
    let found = question.search(&offers, &mut evaluator, None);
    println!("search took {:?}", t.elapsed());
    check(&found);
}

fn show(found: &Found<'_>) {
    let line = |c: &super::search::Considered| {
        println!(
            "{} x{} cap {} {} {:?}",
            c.instance_type,
            c.count,
            c.cap,
            c.monthly.cents(),
            c.reasons
        );
        for e in &c.evaluations {
            println!(
                "    {:?} R{} late {:.4}+-{:.4} slow {:.4}+-{:.4} noticed {:.3} nodes {:.2} {:?}",
                e.layout,
                e.replications,
                e.late.mean,
                e.late.half_width,
                e.slowdown.mean,
                e.slowdown.half_width,
                e.noticed,
                e.nodes.mean,
                e.standing
            );
        }
    };
    if let Some((_, c)) = &found.chosen {
        print!("CHOSEN ");
        line(c);
    }
    found.others.iter().for_each(line);
    println!("borderline {}", found.borderline);
}

#[test]
fn probe() {
    for name in ["proof-of-technology", "production", "kubernetes"] {
        let p = builtin(name).unwrap().profile;
        println!("== {name}");
        decide(&p, p.target, Families::Qualified, show);
    }
    let p = builtin("production").unwrap().profile;
    println!("== any");
    decide(&p, p.target, Families::Any, show);
    println!("== compute");
    decide(&p, p.target, Families::Compute, show);
    println!("== list");
    decide(
        &p,
        p.target,
        Families::List(vec!["c5".into(), "c6i".into(), "c7i".into(), "t3a".into()]),
        show,
    );
    let mut p = p;
    p.slo.scope = crate::domain::profile::Scope::WorstHour;
    println!("== worst");
    decide(&p, p.target, Families::Qualified, show);
    for load in [240.0, 280.0, 320.0, 400.0, 500.0] {
        let mut p = builtin("kubernetes").unwrap().profile;
        p.arrivals.pipelines_per_weekday = load;
        println!("== eks {load}");
        decide(&p, p.target, Families::Qualified, show);
    }
    let mut p = builtin("kubernetes").unwrap().profile;
    p.kubernetes.cpu_request_m = 1000.0;
    println!("== eks 1cpu");
    decide(&p, p.target, Families::Qualified, show);
    let _ = Layout::Hosts { count: 1, slots: 1 };
}

#[test]
fn whole() {
    for name in ["production", "kubernetes", "proof-of-technology"] {
        let p = builtin(name).unwrap().profile;
        let catalog = Catalog::embedded("us-east-1").expect("known");
        let question = Question {
            profile: &p,
            catalog: &catalog,
            target: p.target,
            families: Families::Qualified,
            strict_minimums: false,
            seed: 1,
            threads: 2,
        };
        let t = std::time::Instant::now();
        let r = super::recommend::recommend(&question).unwrap();
        println!(
            "{name}: {:?} {} x{} {:?} {} disk {} {:?} interval {:?} outside {:?} p95 {:?} cpu {:.3} head {:?}",
            t.elapsed(),
            r.chosen.instance_type,
            r.chosen.count,
            r.evaluation.layout,
            r.monthly.cents(),
            r.disk.gib,
            r.disk.fill.days_until(0.8 * f64::from(r.disk.gib)),
            r.interval,
            r.outside
                .iter()
                .map(|o| format!("{} x{} {}", o.instance_type, o.count, o.monthly.cents()))
                .collect::<Vec<_>>(),
            r.wait_p95,
            r.cpu_utilization,
            r.memory_headroom_mib
        );
    }
}
