//! What a person reads, as data: headings, paragraphs, tables. `text` and `markdown` turn it into characters.
//!
//! JSON and YAML do not come from here: they are the command's own document, the same value that fills the page.

/// How a column is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    /// Words.
    #[default]
    Left,
    /// Numbers.
    Right,
}

/// A table. Where the terminal is narrow, columns of words wrap; the last one may go below its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Header and alignment of each column.
    pub columns: Vec<(String, Align)>,
    /// Cells, as many in each row as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Makes an empty table; a header that starts with `>` is set to the right.
    pub fn new(headers: &[&str]) -> Self {
        let columns = headers
            .iter()
            .map(|header| match header.strip_prefix('>') {
                Some(name) => (name.to_owned(), Align::Right),
                None => ((*header).to_owned(), Align::Left),
            })
            .collect();
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<I: IntoIterator<Item = S>, S: Into<String>>(&mut self, cells: I) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Returns the table with as many headers and cells in each row as its widest row has.
    pub(super) fn filled_up(&self) -> Self {
        let mut table = self.clone();
        let lengths = table.rows.iter().map(Vec::len);
        let width = lengths.fold(table.columns.len(), usize::max);
        table.columns.resize_with(width, Default::default);
        for row in &mut table.rows {
            row.resize_with(width, Default::default);
        }
        table
    }
}

/// One piece of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Title of a section.
    Heading(String),
    /// A paragraph, wrapped to the width.
    Text(String),
    /// A list of short paragraphs.
    Bullets(Vec<String>),
    /// Names and values, aligned.
    Pairs(Vec<(String, String)>),
    /// Rows and columns.
    Table(Table),
    /// Lines that must not be wrapped: commands, charts, generated text.
    Verbatim(Vec<String>),
}

/// A page: blocks from top to bottom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The pieces, in order.
    pub blocks: Vec<Block>,
}

impl Page {
    /// Makes an empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the title of a section.
    pub fn heading(&mut self, title: impl Into<String>) -> &mut Self {
        self.blocks.push(Block::Heading(title.into()));
        self
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) -> &mut Self {
        self.blocks.push(Block::Text(text.into()));
        self
    }

    /// Adds a list; nothing when it is empty.
    pub fn bullets<I: IntoIterator<Item = S>, S: Into<String>>(&mut self, items: I) -> &mut Self {
        let items: Vec<String> = items.into_iter().map(Into::into).collect();
        if !items.is_empty() {
            self.blocks.push(Block::Bullets(items));
        }
        self
    }

    /// Adds names and values.
    pub fn pairs<K: Into<String>, V: Into<String>>(
        &mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Self {
        self.blocks.push(Block::Pairs(
            pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
        ));
        self
    }

    /// Adds a table; nothing when it has no row.
    pub fn table(&mut self, table: Table) -> &mut Self {
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
        self
    }

    /// Adds lines that stay as they are.
    pub fn verbatim<I: IntoIterator<Item = S>, S: Into<String>>(&mut self, lines: I) -> &mut Self {
        self.blocks
            .push(Block::Verbatim(lines.into_iter().map(Into::into).collect()));
        self
    }
}
