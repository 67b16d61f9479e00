//! The part of a request that all templates look at.

use crate::http::dashboard::asked::Asked;
use crate::http::dashboard::format::Format;

/// A page and the way in which its reader writes.
pub(in crate::http::dashboard) struct View<'a> {
    pub(in crate::http::dashboard) asked: &'a Asked,
    pub(in crate::http::dashboard) format: Format,
}

impl<'a> View<'a> {
    pub(in crate::http::dashboard) fn new(asked: &'a Asked) -> Self {
        Self { asked, format: Format::new(asked.reader.languages.as_deref(), asked.zone) }
    }
}
