//! The dashboard: pages for people, made on the server from the answers of the API.
//!
//! 1. `asked` reads the address of a page: instant, zone, events that count;
//! 2. `answered` asks the very handlers of the API, as the same caller: a page has no numbers of its own;
//!    `kept` has the answers that pages showed lately, for those that take long;
//! 3. `pages` is one handler a page: it asks, and gives the answers to its template;
//! 4. `templates` turn answers into HTML, `charts` rows into SVG, `format` numbers and instants into text;
//! 5. `assets` are style, script and icon. Pages work without the script, but for live numbers and values under the pointer.

mod answered;
mod asked;
mod assets;
mod charts;
mod format;
mod kept;
mod page;
pub(super) mod pages;
mod templates;

pub(super) use self::kept::Kept;
pub(super) use self::page::elsewhere;
