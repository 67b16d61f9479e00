//! The tables that a command reads: which there are, where they are, how much there is of them, what their columns mean.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context;

use super::databases::{Database, Relation, Source};
use super::formats::kind::{self, Kind};
use super::formats::parquet;
use super::formats::record::{At, Fields};
use super::formats::rows::{self, Layout, Rows};
use super::preset::Preset;
use super::rules::instant::Reading;
use super::rules::logins::LoginRules;
use super::rules::users::UserRules;
use super::rules::values::{Member, Tenant};
use super::settings::Section;
use crate::args::{self, BackfillArgs, SourceArgs, TableArgs, TableFormat};
use crate::input;

/// Tables, users first.
pub(super) struct Tables {
    all: Vec<Table>,
    /// The database that some of them are in.
    database: Option<Database>,
}

/// A table and what its rows are.
pub(super) struct Table {
    place: Place,
    pub(super) fields: Fields,
    pub(super) rules: Rules,
    pub(super) reading: Reading,
    /// The columns that are there; `None` if that is not known yet.
    there: Option<Vec<bool>>,
}

#[derive(Clone)]
enum Place {
    File(PathBuf, TableFormat, Layout),
    Relation(Relation),
}

/// The kind of the rows of a table.
#[derive(Clone, Debug)]
pub(super) enum Rules {
    /// A user each.
    Users(UserRules),
    /// A login each.
    Logins(LoginRules),
}

/// The amount to read, as far as that is known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Bytes(Option<u64>),
    Rows(Option<u64>),
}

/// The name in messages.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(file, ..) if input::is_stdin(file) => f.write_str("stdin"),
            Place::File(file, ..) => file.display().fmt(f),
            Place::Relation(relation) => relation.fmt(f),
        }
    }
}

impl Table {
    pub(super) fn member(&self) -> &Member {
        match &self.rules {
            Rules::Users(rules) => &rules.member,
            Rules::Logins(rules) => &rules.member,
        }
    }

    /// The names of columns that may be missing, and are.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        let there = self.there.iter().flatten();
        self.fields.iter().zip(there).filter(|(_, there)| !**there).map(|((_, field), _)| field.path.name())
    }

    /// The columns of ids.
    fn ids(&self) -> Vec<At> {
        let member = self.member();
        match member.tenant {
            Tenant::Column(tenant) => vec![tenant, member.user],
            Tenant::Named(_) => vec![member.user],
        }
    }

    /// True if a column is there, or it is not known yet that it is not.
    pub(super) fn is_there(&self, at: At) -> bool {
        self.there.as_ref().is_none_or(|there| *at.of(there))
    }

    /// Remembers which columns are there: what is said of others says nothing.
    fn checked(&mut self, there: Vec<bool>) {
        if let Rules::Users(rules) = &mut self.rules {
            rules.observed.retain(|at| *at.of(&there));
        }
        self.there = Some(there);
    }

    fn is_of_lines(&self) -> bool {
        use TableFormat::{Csv, Json, Ndjson, Tsv};
        matches!(self.place, Place::File(_, Csv | Tsv | Ndjson | Json, _))
    }
}

/// The things that are said of tables.
struct Said<'a> {
    preset: Option<Preset>,
    args: &'a TableArgs,
}

impl<'a> Said<'a> {
    fn of(args: &'a TableArgs, from: &SourceArgs) -> anyhow::Result<Self> {
        let preset = from.preset.as_deref().map(Preset::named).transpose()?;
        Ok(Self { preset, args })
    }

    /// A users table. Ends the process if not enough is said of it.
    fn users(&self, place: Unread) -> anyhow::Result<Table> {
        let base = self.preset.as_ref().map_or_else(Section::usual, |preset| preset.users.clone());
        let flags = Section::of_table(self.args);
        place.table(&base, &flags, |said| {
            let (fields, rules) = said.user_rules()?;
            Ok((fields, Rules::Users(rules)))
        })
    }

    /// A table of logins. Ends the process if not enough is said of it.
    fn logins(&self, place: Unread, args: &BackfillArgs) -> anyhow::Result<Table> {
        let of_preset = self.preset.as_ref().and_then(|preset| preset.logins.clone());
        let flags = Section::of_logins(self.args, &args.logins, of_preset.is_none());
        place.table(&of_preset.unwrap_or_else(Section::usual), &flags, |said| {
            let (fields, rules) = said.login_rules()?;
            Ok((fields, Rules::Logins(rules)))
        })
    }
}

/// The place of a table of which the format is not known yet.
enum Unread {
    File(PathBuf),
    Relation(Relation),
}

impl Unread {
    fn table(
        self,
        base: &Section,
        flags: &Section,
        rules: impl FnOnce(&Section) -> anyhow::Result<(Fields, Rules)>,
    ) -> anyhow::Result<Table> {
        let format = match &self {
            Self::File(file) => {
                let is_document = base.has_array() || flags.has_array();
                Some(rows::format_of(file, flags.format, (base.format, is_document))?)
            }
            Self::Relation(_) => None,
        };
        let said = base.clone().of_format(format).beaten_by(flags.clone());
        let place = match (self, format) {
            (Self::File(file), Some(format)) => Place::File(file, format, said.layout()?),
            (Self::File(_), None) => unreachable!("a file has a format"),
            (Self::Relation(relation), _) => Place::Relation(relation),
        };
        let (fields, rules) =
            rules(&said).unwrap_or_else(|unsaid| args::refuse("backfill", format!("{unsaid:#}")));
        Ok(Table { place, fields, rules, reading: said.reading(), there: None })
    }
}

impl Tables {
    /// Returns the tables that a backfill reads. Ends the process if the arguments make no sense together.
    ///
    /// # Errors
    /// If a file or the database cannot be read.
    pub(super) fn of_backfill(args: &BackfillArgs) -> anyhow::Result<Self> {
        let BackfillArgs { table, from, logins, .. } = args;
        let names = [&from.table, &from.query, &logins.logins_table, &logins.logins_query];
        let is_in_database = names.iter().any(|name| name.is_some());
        let source = args.source.as_deref().map(source).transpose()?.flatten();
        if source.is_some() && !is_in_database {
            args::refuse("backfill", "a database needs --table, --query, --logins-table or --logins-query");
        }
        if source.is_none() && is_in_database {
            refuse_names_of_tables();
        }
        let users = match (args.source.as_deref(), source) {
            (Some(file), None) => Some(Unread::File(file.to_owned())),
            _ => Relation::of(from.table.as_ref(), from.query.as_ref()).map(Unread::Relation),
        };
        let relation = Relation::of(logins.logins_table.as_ref(), logins.logins_query.as_ref());
        let files = logins.logins.iter().cloned().map(Unread::File);
        let said = Said::of(table, from)?;
        let users = users.map(|place| said.users(place));
        let logins =
            relation.map(Unread::Relation).into_iter().chain(files).map(|place| said.logins(place, args));
        let all: Vec<Table> = users.into_iter().chain(logins).collect::<anyhow::Result<_>>()?;
        let is_of_users = |table: &Table| matches!(table.rules, Rules::Users(_));
        if !all.iter().any(is_of_users) {
            refuse_useless(
                &table.columns.of_users_alone(),
                "a users table: SOURCE, --table or --query names one",
            );
        }
        if all.iter().all(is_of_users) {
            let columns = args.logins.of_columns();
            refuse_useless(
                &columns,
                "a table of logins: --logins, --logins-table or --logins-query names one",
            );
        }
        refuse_layout(&all, table);
        Self::open(all, source, from)
    }

    /// A users table alone. Ends the process where the arguments make no sense together.
    ///
    /// # Errors
    /// If the file or the database cannot be read.
    pub(super) fn of_users(file: &Path, (args, from): (&TableArgs, &SourceArgs)) -> anyhow::Result<Self> {
        let relation = Relation::of(from.table.as_ref(), from.query.as_ref());
        let source = source(file)?;
        let place = match (source, relation) {
            (Some(_), Some(relation)) => Unread::Relation(relation),
            (None, None) => Unread::File(file.to_owned()),
            (Some(_), None) => args::refuse("backfill", "a database needs --table or --query"),
            (None, Some(_)) => refuse_names_of_tables(),
        };
        let all = vec![Said::of(args, from)?.users(place)?];
        refuse_layout(&all, args);
        Self::open(all, source, from)
    }

    fn open(all: Vec<Table>, source: Option<Source<'_>>, from: &SourceArgs) -> anyhow::Result<Self> {
        let passwords = [from.postgres_password.as_deref(), from.mysql_password.as_deref()];
        let database = source.map(|source| Database::open(source, passwords)).transpose()?;
        Ok(Self { all, database })
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Table> {
        self.all.iter()
    }

    pub(super) fn get(&self, at: usize) -> &Table {
        &self.all[at]
    }

    /// Returns the size of all tables together: in bytes if they are files of lines, else in rows. A file
    /// that is not there fails here, before anything is sent.
    ///
    /// # Errors
    /// If a table cannot be read.
    pub(super) fn size(&self) -> anyhow::Result<Size> {
        let files = self.all.iter().filter_map(|table| match &table.place {
            Place::File(file, ..) => Some(file.clone()),
            Place::Relation(_) => None,
        });
        let bytes = input::total_bytes(&files.collect::<Vec<_>>())?;
        if self.all.iter().all(Table::is_of_lines) {
            return Ok(Size::Bytes(bytes));
        }
        let mut rows = Some(0);
        for table in &self.all {
            let of_table = match &table.place {
                Place::File(file, TableFormat::Parquet, _) => Some(parquet::rows_in(file)?),
                Place::File(..) => None,
                Place::Relation(relation) => self.database()?.about_rows(relation)?,
            };
            rows = rows.zip(of_table).map(|(rows, more)| rows + more);
        }
        Ok(Size::Rows(rows))
    }

    /// Looks for the columns in every table but a stream, which can be opened only once.
    ///
    /// # Errors
    /// If a table cannot be read, or lacks a column.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        for at in 0..self.all.len() {
            let table = &self.all[at];
            let there = match &table.place {
                Place::File(file, ..) if input::is_stream(file) => continue,
                Place::File(..) => {
                    let checked = self.rows(at, &Arc::default())?.check(&table.fields);
                    checked.with_context(|| format!("cannot read {table}"))?
                }
                Place::Relation(relation) => self.database()?.check(relation, &table.fields)?,
            };
            self.all[at].checked(there);
        }
        Ok(())
    }

    /// Remembers which columns a table has that could not be looked at before, as far as its beginning says it.
    pub(super) fn opened(&mut self, at: usize, rows: &Rows) {
        let table = &mut self.all[at];
        if table.there.is_none() && rows.knows_columns() {
            let there = table.fields.iter().map(|(at, _)| rows.has(at)).collect();
            table.checked(there);
        }
    }

    /// Opens a table and finds the columns in it. `bytes_read` counts what is taken from files of lines.
    ///
    /// # Errors
    /// If it cannot be read, or lacks a column.
    pub(super) fn rows(&self, at: usize, bytes_read: &Arc<AtomicU64>) -> anyhow::Result<Rows> {
        let table = &self.all[at];
        match &table.place {
            Place::File(file, format, layout) => {
                Rows::open(file, (*format, layout), (&table.fields, table.there.as_deref()), bytes_read)
            }
            Place::Relation(relation) => self.database()?.rows(relation, (&table.fields, &table.ids())),
        }
    }

    fn database(&self) -> anyhow::Result<&Database> {
        self.database.as_ref().context("a table of a database without one")
    }
}

/// Ends the process if a flag is given that says something of what there is not.
fn refuse_useless(flags: &[(&'static str, bool)], of: &str) {
    if let Some((flag, _)) = flags.iter().find(|(_, is_given)| *is_given) {
        args::refuse("backfill", format!("{flag} is about {of}"));
    }
}

/// Ends the process if a flag is given that says how files are laid out, and no file is so.
fn refuse_layout(all: &[Table], args: &TableArgs) {
    use TableFormat::{Csv, Json, Tsv, Xlsx};
    let any = |of: &[TableFormat]| {
        all.iter().any(|table| matches!(&table.place, Place::File(_, format, _) if of.contains(format)))
    };
    let layout = &args.layout;
    for (flag, is_given, of) in [
        ("--delimiter", layout.delimiter.is_some(), &[Csv][..]),
        ("--header", layout.header.is_some(), &[Csv, Tsv, Xlsx]),
        ("--array", layout.array.is_some(), &[Json]),
        ("--sheet", layout.sheet.is_some(), &[Xlsx]),
        ("--short-rows", layout.short_rows.is_some(), &[Csv, Tsv]),
        ("--text-prefix", layout.text_prefix.is_some(), &[Csv, Tsv, Xlsx]),
    ] {
        if is_given && !any(of) {
            let names: Vec<&str> = of.iter().map(|format| format.name()).collect();
            args::refuse("backfill", format!("{flag} is about {}, and no table is that", names.join(", ")));
        }
    }
}

const NO_DATABASE: &str =
    "--table and --query are of a database: SOURCE is postgres://..., mysql://... or the file of SQLite";

fn refuse_names_of_tables() -> ! {
    args::refuse("backfill", NO_DATABASE)
}

/// A source that is a database. Ends the process where it is a URL of something else.
///
/// # Errors
/// If the file cannot be opened.
fn source(source: &Path) -> anyhow::Result<Option<Source<'_>>> {
    let expected = "SOURCE is a file, -, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE";
    match source.to_str().map(|text| (text, text.split_once("://"))) {
        Some((url, Some(("postgres" | "postgresql", _)))) => return Ok(Some(Source::Postgres(url))),
        Some((url, Some(("mysql" | "mariadb", _)))) => return Ok(Some(Source::Mysql(url))),
        Some((_, Some(_))) => args::refuse("backfill", expected),
        // There may be a password in it.
        Some((text, None))
            if ["postgres:", "postgresql:", "mysql:"].iter().any(|start| text.starts_with(start)) =>
        {
            args::refuse("backfill", expected)
        }
        _ => {}
    }
    if input::is_stream(source) {
        return Ok(None);
    }
    let kind = rows::start(source).with_context(|| format!("cannot read {}", source.display()))?;
    Ok((kind::of(&kind) == Kind::Table(TableFormat::Sqlite)).then_some(Source::Sqlite(source)))
}
