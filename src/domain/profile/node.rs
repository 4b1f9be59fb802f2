//! YAML text → a small tree in which every value knows its line and column.
//!
//! Works on the parser's events instead of on serde, so that a number keeps its spelling, a duplicate key
//! its place, and an alias costs what it copies. Whether the values make sense is decided in `parse`.

use std::collections::HashMap;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span, options};

use super::problem::{Place, Problems, bare, quoted};

/// Bytes of a profile at most.
pub const MAX_BYTES: usize = 1 << 20;
/// Nesting of a profile at most; a correct one has four levels.
pub const MAX_DEPTH: usize = 16;
/// Values of a profile at most, copies made by aliases included.
pub const MAX_NODES: usize = 20_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(in crate::domain) struct Node {
    pub(in crate::domain) place: Place,
    pub(in crate::domain) content: Content,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(in crate::domain) enum Content {
    /// Keys in the order of the file; duplicates are already reported and left out.
    Mapping(Vec<Entry>),
    Sequence(Vec<Node>),
    /// The text after YAML's own unquoting, and whether it stood without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(in crate::domain) struct Entry {
    pub(in crate::domain) key: String,
    pub(in crate::domain) place: Place,
    pub(in crate::domain) value: Node,
}

impl Node {
    /// Returns whether nothing was written, or one of YAML's words for nothing.
    pub(in crate::domain) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Returns what the value is, for messages.
    pub(in crate::domain) fn describe(&self) -> String {
        match &self.content {
            _ if self.is_null() => "nothing".to_owned(),
            Content::Mapping(_) => "a mapping".to_owned(),
            Content::Sequence(items) => format!("a list of {}", items.len()),
            Content::Scalar { text, plain: true } => quoted(text),
            Content::Scalar { text, .. } => format!("the text {}", quoted(text)),
        }
    }
}

/// A collection that is being read.
struct Open {
    place: Place,
    anchor: usize,
    /// Nodes so far, itself included.
    nodes: usize,
    body: Body,
}

enum Body {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        /// Where each key stood first.
        seen: HashMap<String, Place>,
        next: Next,
    },
}

/// What comes next in a mapping.
enum Next {
    Key,
    /// The value of this key.
    ValueOf(String, Place),
    /// The value of a key that was refused.
    Nothing,
}

fn place(span: Span) -> Place {
    Place {
        line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
        column: u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX),
    }
}

/// Reads a document; `None` when it holds nothing or when the text could not be read to its end.
pub(in crate::domain) fn read(text: &str, problems: &mut Problems<'_>) -> Option<Node> {
    let mut options = options! {
        flow_nesting_limit: 64,
        block_nesting_limit: 64,
        simple_key_max_lookahead: 1024,
    };
    options.set_emit_comments(false);
    let mut stack: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, (Node, usize)> = HashMap::new();
    let mut nodes = 0usize;
    let mut documents = 0usize;
    let mut root: Option<Node> = None;

    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = Place {
                    line: u32::try_from(error.marker().line()).unwrap_or(u32::MAX),
                    column: u32::try_from(error.marker().col() + 1).unwrap_or(u32::MAX),
                };
                let info: String = error
                    .info()
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(200)
                    .collect();
                problems.add(at, "", format!("is not YAML from here on: {info}"), None, None);
                return None;
            }
        };
        let at = place(span);
        let finished = match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    problems.add(
                        at,
                        "",
                        "a second YAML document begins here",
                        Some("one document".to_owned()),
                        None,
                    );
                    return None;
                }
                None
            }
            Event::Scalar(value, style, anchor, tag) => {
                if let Some(tag) = tag {
                    refuse_tag(&tag.original(), at, problems);
                }
                // A long text counts as many: aliases of a megabyte must not be free.
                let size = 1 + value.len() / 64;
                nodes += size;
                let plain = style == ScalarStyle::Plain;
                let node = Node {
                    place: at,
                    content: Content::Scalar {
                        text: value.into_owned(),
                        plain,
                    },
                };
                Some((node, size, anchor))
            }
            Event::Alias(id) => {
                let Some((node, size)) = anchors.get(&id) else {
                    problems.add(at, "", "an alias that contains itself", None, None);
                    return None;
                };
                // Counted before it is copied: nine aliases of nine aliases must not cost 9^n first.
                nodes += size;
                if nodes > MAX_NODES {
                    too_many(at, problems);
                    return None;
                }
                let mut copy = node.clone();
                copy.place = at;
                Some((copy, *size, 0))
            }
            Event::SequenceStart(_, anchor, tag) => {
                if let Some(tag) = tag {
                    refuse_tag(&tag.original(), at, problems);
                }
                nodes += 1;
                stack.push(Open {
                    place: at,
                    anchor,
                    nodes: 1,
                    body: Body::Sequence(Vec::new()),
                });
                None
            }
            Event::MappingStart(_, anchor, tag) => {
                if let Some(tag) = tag {
                    refuse_tag(&tag.original(), at, problems);
                }
                nodes += 1;
                let body = Body::Mapping {
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    next: Next::Key,
                };
                stack.push(Open {
                    place: at,
                    anchor,
                    nodes: 1,
                    body,
                });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => stack.pop().map(|open| {
                let content = match open.body {
                    Body::Sequence(items) => Content::Sequence(items),
                    Body::Mapping { entries, .. } => Content::Mapping(entries),
                };
                (
                    Node {
                        place: open.place,
                        content,
                    },
                    open.nodes,
                    open.anchor,
                )
            }),
            _ => None,
        };
        if nodes > MAX_NODES {
            too_many(at, problems);
            return None;
        }
        if stack.len() > MAX_DEPTH {
            problems.add(
                at,
                "",
                format!("is nested deeper than {MAX_DEPTH} levels"),
                None,
                None,
            );
            return None;
        }
        let Some((node, size, anchor)) = finished else {
            continue;
        };
        if anchor > 0 {
            anchors.insert(anchor, (node.clone(), size));
        }
        match stack.last_mut() {
            None => root = Some(node),
            Some(open) => {
                open.nodes += size;
                attach(&mut open.body, node, problems);
            }
        }
    }
    root
}

fn too_many(at: Place, problems: &mut Problems<'_>) {
    problems.add(
        at,
        "",
        format!("holds more than {MAX_NODES} values, copies by aliases included"),
        None,
        None,
    );
}

fn refuse_tag(tag: &str, at: Place, problems: &mut Problems<'_>) {
    problems.add(
        at,
        "",
        format!("the tag {} is not supported", quoted(tag)),
        None,
        Some("remove it".to_owned()),
    );
}

/// Adds a finished value to the collection around it.
fn attach(body: &mut Body, node: Node, problems: &mut Problems<'_>) {
    match body {
        Body::Sequence(items) => items.push(node),
        Body::Mapping { entries, seen, next } => match std::mem::replace(next, Next::Key) {
            Next::Key => {
                let at = node.place;
                let Content::Scalar { text, .. } = node.content else {
                    problems.add(
                        at,
                        "",
                        "a key is a list or a mapping",
                        Some("a word".to_owned()),
                        None,
                    );
                    *next = Next::Nothing;
                    return;
                };
                if let Some(first) = seen.get(&text) {
                    problems.add(
                        at,
                        bare(&text),
                        format!("this key stands twice, first in line {}", first.line),
                        None,
                        Some("remove one of them".to_owned()),
                    );
                    *next = Next::Nothing;
                    return;
                }
                seen.insert(text.clone(), at);
                *next = Next::ValueOf(text, at);
            }
            Next::Nothing => {}
            Next::ValueOf(key, place) => entries.push(Entry {
                key,
                place,
                value: node,
            }),
        },
    }
}
