//! The place of a table in a database.

use std::fmt;

/// A table, or the rows of a query.
#[derive(Clone, Debug)]
pub(crate) enum Relation {
    Table(String),
    Query(String),
}

/// The name in messages.
impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) => f.write_str(name),
            Self::Query(_) => f.write_str("query"),
        }
    }
}

impl Relation {
    /// `None`: neither is named.
    pub(crate) fn of(table: Option<&String>, query: Option<&String>) -> Option<Self> {
        table.cloned().map(Self::Table).or_else(|| query.cloned().map(Self::Query))
    }

    /// Returns the text for behind FROM.
    pub(super) fn from(&self) -> String {
        match self {
            Self::Table(name) => name.clone(),
            Self::Query(sql) => {
                // It may end with a comment.
                let sql = sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
                format!("({sql}\n) AS source")
            }
        }
    }

    /// Returns the statement that reads columns, each in such quotes.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(super) fn select(&self, columns: &[&str], quote: char) -> String {
        let quoted = |name: &&str| {
            let doubled = name.replace(quote, &format!("{quote}{quote}"));
            format!("{quote}{doubled}{quote}")
        };
        let columns: Vec<String> = columns.iter().map(quoted).collect();
        format!("SELECT {} FROM {}", columns.join(", "), self.from())
    }
}
