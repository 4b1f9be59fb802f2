//! Shows events on stderr: bars on a terminal, a line each elsewhere, or JSON lines.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;

use super::style::printable;
use crate::domain::deployment::step::Action;
use crate::engine::event::{Event, What};

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Bars that move.
    Bars,
    /// A line for each end of a step, and for what is waited for now and then.
    Lines,
    /// An object a line.
    Json,
    /// Nothing.
    Silent,
}

/// Seconds between two lines about the same wait.
const SPARSE: f64 = 15.0;

/// Longest text of a line that moves.
const LONGEST: usize = 110;

/// Shows events until nobody sends any more.
///
/// `many` puts the deployment's name before each address.
pub async fn show(mut events: UnboundedReceiver<Event>, manner: Manner, many: bool) {
    let mut screen = Screen {
        manner,
        many,
        bars: MultiProgress::new(),
        open: BTreeMap::new(),
        said: BTreeMap::new(),
    };
    while let Some(event) = events.recv().await {
        screen.event(&event);
    }
    for bar in screen.open.values() {
        bar.finish_and_clear();
    }
}

struct Screen {
    manner: Manner,
    many: bool,
    bars: MultiProgress,
    open: BTreeMap<String, ProgressBar>,
    said: BTreeMap<String, f64>,
}

impl Screen {
    fn event(&mut self, event: &Event) {
        match self.manner {
            Manner::Silent => {}
            Manner::Json => {
                let mut line = serde_json::json!(event);
                line["level"] = "event".into();
                write(&line.to_string());
            }
            Manner::Lines => self.line(event),
            Manner::Bars => self.bar(event),
        }
    }

    fn label(&self, event: &Event) -> String {
        let verb = match event.action {
            Action::Wait => "wait for".to_owned(),
            action => action.word().to_owned(),
        };
        if self.many {
            format!("{}: {verb} {}", event.deployment, event.address)
        } else {
            format!("{verb} {}", event.address)
        }
    }

    fn line(&mut self, event: &Event) {
        let label = self.label(event);
        let key = format!("{} {}", event.deployment, event.address);
        match &event.what {
            What::Started => {}
            What::Trying { attempt } => write(&format!("{label}: trying {attempt}")),
            What::Retrying { because, in_seconds } => {
                // The first tries are over before anybody could read of them.
                if *in_seconds > 0.5 {
                    write(&format!("{label}: again in {in_seconds:.1} s, because {because}"));
                }
            }
            What::Waiting { evidence, seconds } => {
                let last = self.said.get(&key).copied().unwrap_or(0.0);
                if *seconds - last >= SPARSE {
                    self.said.insert(key, *seconds);
                    write(&format!("{label}: {seconds:.0} s, {evidence}"));
                }
            }
            What::Done { seconds, notes } => {
                write(&format!("{label}: done in {seconds:.1} s"));
                for note in notes {
                    write(&format!("  {note}"));
                }
            }
            What::Failed { cause } => write(&format!("{label}: failed: {cause}")),
        }
    }

    fn bar(&mut self, event: &Event) {
        let label = self.label(event);
        let key = format!("{} {}", event.deployment, event.address);
        let bar = self.open.entry(key.clone()).or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar.set_message(short(&label));
            bar
        });
        match &event.what {
            What::Started => {}
            What::Trying { attempt } => bar.set_message(short(&format!("{label}: trying {attempt}"))),
            What::Retrying { because, .. } => bar.set_message(short(&format!("{label}: again, {because}"))),
            What::Waiting { evidence, .. } => bar.set_message(short(&format!("{label}: {evidence}"))),
            What::Done { seconds, notes } => {
                let notes: String = notes
                    .iter()
                    .map(|note| format!("\n    {}", printable(note)))
                    .collect();
                let line = format!("✓ {label} ({seconds:.1} s){notes}");
                self.end(&key, &line);
            }
            What::Failed { cause } => {
                let line = format!("✗ {label}: {}", printable(cause));
                self.end(&key, &line);
            }
        }
    }

    fn end(&mut self, key: &str, line: &str) {
        if let Some(bar) = self.open.remove(key) {
            bar.finish_and_clear();
        }
        let _ = self.bars.println(line);
    }
}

fn short(text: &str) -> String {
    let text = printable(text).replace('\n', " ");
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// There is nobody left to tell when writing fails.
fn write(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(line));
}
