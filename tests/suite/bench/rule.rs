//! What the proxy does to calls: how the network, and AWS on a bad day, would.

use std::sync::Arc;
use std::time::Duration;

use super::call::Call;

/// Something that happens to the calls it fits; of several rules the first that fits and is not used up.
pub struct Rule {
    name: String,
    fits: Box<dyn Fn(&Call) -> bool + Send>,
    skip: usize,
    times: usize,
    deed: Deed,
}

type Then = dyn Fn(&Call) + Send + Sync;

/// What is done, and what is told of it.
#[derive(Clone)]
pub struct Deed {
    /// What is done.
    pub effect: Arc<Effect>,
    /// Called when it is done, before the client can know.
    pub then: Option<Arc<Then>>,
}

/// What is done with a call.
pub enum Effect {
    /// Passed on, as if there were no rule.
    Pass,
    /// Answered with an error, a code and a message; nothing else happens.
    Fail(u16, String, String),
    /// Answered with "too many requests"; nothing else happens.
    Throttle,
    /// Answered with "not permitted"; nothing else happens.
    Deny,
    /// The connection ends; nothing else happens.
    Reset,
    /// It is done, then the connection ends.
    Lose,
    /// It is done, and half of the answer is sent.
    Half,
    /// It is done later.
    Delay(Duration),
    /// Answered with this; nothing else happens.
    Answer(String),
    /// It is done, and the answer changed.
    Rewrite(Box<dyn Fn(String) -> String + Send + Sync>),
}

impl Rule {
    /// Begins a rule for a call as policies name it, such as `ec2:RunInstances`; `*` is every call.
    pub fn on(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            fits: Box::new(|_| true),
            skip: 0,
            times: usize::MAX,
            deed: Deed {
                effect: Arc::new(Effect::Pass),
                then: None,
            },
        }
    }

    /// Only calls for which this holds.
    pub fn when(mut self, fits: impl Fn(&Call) -> bool + Send + 'static) -> Self {
        self.fits = Box::new(fits);
        self
    }

    /// Lets as many calls pass first.
    pub fn skip(mut self, calls: usize) -> Self {
        self.skip = calls;
        self
    }

    /// Happens to as many calls, then no more.
    pub fn times(mut self, calls: usize) -> Self {
        self.times = calls;
        self
    }

    /// Fails before anything happens, with a code in the words of the service.
    pub fn fail(self, status: u16, code: &str) -> Self {
        self.refuse(status, code, "said the bench")
    }

    /// Fails before anything happens, with a code and a message in the words of the service.
    pub fn refuse(self, status: u16, code: &str, message: &str) -> Self {
        self.with(Effect::Fail(status, code.to_owned(), message.to_owned()))
    }

    /// Refuses as too many requests, as the service says it.
    pub fn throttle(self) -> Self {
        self.with(Effect::Throttle)
    }

    /// Refuses as not permitted, as the service says it.
    pub fn deny(self) -> Self {
        self.with(Effect::Deny)
    }

    /// Ends the connection before anything happens.
    pub fn reset(self) -> Self {
        self.with(Effect::Reset)
    }

    /// Does what is asked, and ends the connection without an answer.
    pub fn lose(self) -> Self {
        self.with(Effect::Lose)
    }

    /// Does what is asked, and sends half of the answer, with the length of the whole.
    pub fn half(self) -> Self {
        self.with(Effect::Half)
    }

    /// Does what is asked after a while.
    pub fn delay(self, by: Duration) -> Self {
        self.with(Effect::Delay(by))
    }

    /// Answers with a text of the service's own form, for CBOR with JSON; moto hears nothing.
    pub fn answer(self, text: &str) -> Self {
        self.with(Effect::Answer(text.to_owned()))
    }

    /// Changes the text of the answer; not for CBOR.
    pub fn rewrite(self, change: impl Fn(String) -> String + Send + Sync + 'static) -> Self {
        self.with(Effect::Rewrite(Box::new(change)))
    }

    /// Shows running EC2 instances as pending.
    pub fn pending(self) -> Self {
        let (running, pending) = (
            "<code>16</code><name>running</name>",
            "<code>0</code><name>pending</name>",
        );
        self.rewrite(move |text| text.replace(running, pending))
    }

    /// Shows terminated EC2 instances as on their way there.
    pub fn shutting_down(self) -> Self {
        let (gone, going) = (
            "<code>48</code><name>terminated</name>",
            "<code>32</code><name>shutting-down</name>",
        );
        self.rewrite(move |text| {
            let compact = text.split('\n').map(str::trim).collect::<String>();
            compact.replace(gone, going)
        })
    }

    /// Shows a list of an XML answer as empty, such as `reservationSet`: what was made is not visible yet.
    pub fn empty(self, list: &str) -> Self {
        let (open, close) = (format!("<{list}>"), format!("</{list}>"));
        self.rewrite(move |text| match (text.find(&open), text.rfind(&close)) {
            (Some(from), Some(to)) => format!("{}{}", &text[..from + open.len()], &text[to..]),
            _ => text,
        })
    }

    /// Calls a function when the deed is done and the client knows nothing yet: the place to kill it.
    pub fn and_then(mut self, then: impl Fn(&Call) + Send + Sync + 'static) -> Self {
        self.deed.then = Some(Arc::new(then));
        self
    }

    fn with(mut self, effect: Effect) -> Self {
        self.deed.effect = Arc::new(effect);
        self
    }

    /// Returns what happens to a call, and counts it.
    pub fn take(&mut self, call: &Call) -> Option<Deed> {
        if (self.name != "*" && self.name != call.name()) || self.times == 0 || !(self.fits)(call) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.deed.clone())
    }
}
