//! The things that are said of a table: by a preset, and by flags, which beat it; and the rules that they make.

use anyhow::{Context, bail};
use chrono_tz::Tz;
use lastseen_event::{EventType, UtcInstant};
use serde::{Deserialize, Deserializer};

use super::formats::record::{At, Fields};
use super::formats::rows::Layout;
use super::rules::condition::Clauses;
use super::rules::instant::{Epoch, Reading};
use super::rules::logins::LoginRules;
use super::rules::users::{Confirmation, CreatedOtherwise, UserRules};
use super::rules::values::{Member, Tenant};
use crate::args::{Everybody, LoginArgs, TableArgs, TableFormat};

/// The things that are said of a table. The names are those of flags. `None`: not said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Section {
    pub(super) format: Option<TableFormat>,
    delimiter: Option<char>,
    header: Option<Vec<String>>,
    array: Option<String>,
    sheet: Option<String>,
    short_rows: Option<usize>,
    text_prefix: Option<char>,
    #[serde(deserialize_with = "zone")]
    tz: Option<Tz>,
    instants: Option<Epoch>,
    null: Option<Texts>,
    dates_are_days: Option<bool>,
    tenant: Option<String>,
    tenant_column: Option<String>,
    user_column: Option<String>,
    confirmed: Option<Everybody>,
    confirmed_column: Option<String>,
    confirmed_at_column: Option<String>,
    confirmed_where: Option<Texts>,
    created: Option<String>,
    created_column: Option<String>,
    modified_column: Option<String>,
    deleted_column: Option<String>,
    deleted_where: Option<Texts>,
    deleted_since_column: Option<String>,
    observed_column: Option<Texts>,
    estimate_unseen: Option<bool>,
    left_out_column: Option<String>,
    left_out_where: Option<Texts>,
    skip_where: Option<Texts>,
    login_column: Option<String>,
    login_where: Option<Texts>,
    token_refresh_where: Option<Texts>,
    signup_where: Option<Texts>,
    /// A flag that only the user can give.
    logins_need: Option<String>,
    /// The things that are said of one kind of source only.
    csv: Option<Box<Section>>,
    json: Option<Box<Section>>,
    database: Option<Box<Section>>,
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Texts {
    fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
        .iter()
        .map(String::as_str)
    }

    fn of(texts: &[String]) -> Option<Self> {
        (!texts.is_empty()).then(|| Self::Several(texts.to_vec()))
    }
}

fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tz>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    name.map(|name| name.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Takes the fields that a section says from it.
macro_rules! take_said {
    ($into:ident, $from:ident: $($field:ident),+ $(,)?) => {
        $(if $from.$field.is_some() { $into.$field = $from.$field; })+
    };
}

impl Section {
    /// The usual names of columns, for a table that is of no product.
    pub(super) fn usual() -> Self {
        let name = |name: &str| Some(name.to_owned());
        Self {
            tenant_column: name("tenant_id"),
            user_column: name("user_id"),
            confirmed_column: name("email_confirmed"),
            created_column: name("created_at"),
            modified_column: name("modified_at"),
            deleted_column: name("deleted_at"),
            login_column: name("occurred_at"),
            ..Self::default()
        }
    }

    /// The things that flags say of all tables, and of users.
    pub(super) fn of_table(args: &TableArgs) -> Self {
        let TableArgs { layout, columns } = args;
        Self {
            format: layout.format,
            delimiter: layout.delimiter.map(char::from),
            header: layout.header.as_ref().map(|names| names.0.clone()),
            array: layout.array.clone(),
            sheet: layout.sheet.clone(),
            short_rows: layout.short_rows,
            text_prefix: layout.text_prefix,
            tz: layout.tz,
            instants: layout.instants,
            null: Texts::of(&layout.null),
            dates_are_days: layout.dates_are_days.then_some(true),
            tenant: columns.tenant.clone(),
            tenant_column: columns.tenant_column.clone(),
            user_column: columns.user_column.clone(),
            confirmed: columns.confirmed,
            confirmed_column: columns.confirmed_column.clone(),
            confirmed_at_column: columns.confirmed_at_column.clone(),
            confirmed_where: Texts::of(&columns.confirmed_where),
            created: columns.created.clone(),
            created_column: columns.created_column.clone(),
            modified_column: columns.modified_column.clone(),
            deleted_column: columns.deleted_column.clone(),
            deleted_where: Texts::of(&columns.deleted_where),
            deleted_since_column: columns.deleted_since_column.clone(),
            observed_column: Texts::of(&columns.observed_column),
            estimate_unseen: columns.estimate_unseen.then_some(true),
            left_out_column: columns.left_out_column.clone(),
            left_out_where: Texts::of(&columns.left_out_where),
            skip_where: Texts::of(&columns.skip_where),
            ..Self::default()
        }
    }

    /// The things that flags say of a table of logins. `names_members`: its members are in the columns of those of users, unless a
    /// flag says otherwise.
    pub(super) fn of_logins(args: &TableArgs, logins: &LoginArgs, names_members: bool) -> Self {
        let table = Self::of_table(args);
        let user_column = table.user_column.clone().filter(|_| names_members);
        Self {
            // No product has one column of it in its users, and another one in its logins.
            tenant_column: logins.login_tenant_column.clone().or_else(|| table.tenant_column.clone()),
            user_column: logins.login_user_column.clone().or(user_column),
            skip_where: table.skip_where.clone().filter(|_| names_members),
            login_column: logins.login_column.clone(),
            login_where: Texts::of(&logins.login_where),
            token_refresh_where: Texts::of(&logins.token_refresh_where),
            signup_where: Texts::of(&logins.signup_where),
            ..table
        }
    }

    /// True if it says in which array of a document the rows are.
    pub(super) fn has_array(&self) -> bool {
        self.array.is_some() || self.json.as_ref().is_some_and(|json| json.array.is_some())
    }

    /// Returns what it says of a format; `None` is a database.
    pub(super) fn of_format(mut self, format: Option<TableFormat>) -> Self {
        let special = match format {
            None | Some(TableFormat::Sqlite) => self.database.take(),
            Some(TableFormat::Csv | TableFormat::Tsv | TableFormat::Xlsx | TableFormat::Parquet) => {
                self.csv.take()
            }
            Some(TableFormat::Json | TableFormat::Ndjson) => self.json.take(),
        };
        match special {
            Some(special) => self.beaten_by(*special),
            None => self,
        }
    }

    /// Returns what holds if another one is said on top.
    pub(super) fn beaten_by(mut self, other: Self) -> Self {
        if other.tenant.is_some() {
            self.tenant_column = None;
        } else if other.tenant_column.is_some() {
            self.tenant = None;
        }
        let has_clause =
            other.confirmed_where.as_ref().is_some_and(|texts| texts.iter().any(|text| !text.is_empty()));
        if other.confirmed.is_some() || other.confirmed_column.is_some() {
            self.confirmed_at_column = None;
            self.confirmed_where = None;
        }
        // An instant and conditions hold together.
        if other.confirmed.is_some() || other.confirmed_at_column.is_some() || has_clause {
            self.confirmed_column = None;
        }
        if other.confirmed_column.is_some() || other.confirmed_at_column.is_some() || has_clause {
            self.confirmed = None;
        }
        let nulls: Vec<String> = [&self.null, &other.null]
            .into_iter()
            .flatten()
            .flat_map(Texts::iter)
            .map(str::to_owned)
            .collect();
        take_said!(self, other: format, delimiter, header, array, sheet, short_rows, text_prefix, tz, instants);
        take_said!(self, other: dates_are_days, tenant, tenant_column, user_column, confirmed, confirmed_column);
        take_said!(self, other: confirmed_at_column, confirmed_where, created, created_column, modified_column);
        take_said!(self, other: deleted_column, deleted_where, deleted_since_column, observed_column);
        take_said!(self, other: estimate_unseen, left_out_column, left_out_where, skip_where);
        take_said!(self, other: login_column, login_where, token_refresh_where, signup_where, logins_need);
        self.null = Texts::of(&nulls);
        self
    }

    pub(super) fn layout(&self) -> anyhow::Result<Layout> {
        let delimiter = self.delimiter.unwrap_or(',');
        Ok(Layout {
            delimiter: u8::try_from(delimiter).context("delimiter: expected an ASCII character")?,
            header: self.header.clone(),
            array: self.array.clone(),
            sheet: self.sheet.clone(),
            short_rows: self.short_rows.unwrap_or_default(),
            text_prefix: self.text_prefix,
        })
    }

    pub(super) fn reading(&self) -> Reading {
        Reading {
            zone: self.tz.unwrap_or(Tz::UTC),
            numbers: self.instants,
            nulls: self.null.iter().flat_map(Texts::iter).map(str::to_owned).collect(),
            dates_are_days: self.dates_are_days.unwrap_or_default(),
        }
    }

    /// The rules of a users table, and the columns that they use.
    ///
    /// # Errors
    /// If something that must be said is not.
    pub(super) fn user_rules(&self) -> anyhow::Result<(Fields, UserRules)> {
        let mut columns = Columns::default();
        let member = self.member(&mut columns, ("--tenant-column", "--user-column"))?;
        let confirmation = self.confirmation(&mut columns)?;
        let created = columns.optional(self.created_column.as_deref(), "--created-column");
        if created.is_none() && self.created.is_none() {
            bail!(
                "--created says when users were created, as no column does: an instant, a date, or earliest"
            );
        }
        let rules = UserRules {
            member,
            confirmation,
            created,
            created_otherwise: self
                .created
                .as_deref()
                .map(|text| created_otherwise(text, self.tz))
                .transpose()?,
            modified: columns.optional(self.modified_column.as_deref(), "--modified-column"),
            deleted: columns.optional(self.deleted_column.as_deref(), "--deleted-column"),
            deleted_where: columns.clauses(self.deleted_where.as_ref(), "--deleted-where")?,
            deleted_since: columns.optional(self.deleted_since_column.as_deref(), "--deleted-since-column"),
            observed: (self.observed_column.iter().flat_map(Texts::iter))
                .filter_map(|name| columns.optional(Some(name), "--observed-column"))
                .collect(),
            estimates_unseen: self.estimate_unseen.unwrap_or_default(),
            left_out: columns.optional(self.left_out_column.as_deref(), "--left-out-column"),
            left_out_where: columns.clauses(self.left_out_where.as_ref(), "--left-out-where")?,
            skipped: columns.clauses(self.skip_where.as_ref(), "--skip-where")?,
        };
        Ok((columns.0, rules))
    }

    /// The rules of a table of logins, and the columns that they use.
    ///
    /// # Errors
    /// If something that must be said is not.
    pub(super) fn login_rules(&self) -> anyhow::Result<(Fields, LoginRules)> {
        let mut columns = Columns::default();
        let member = self.member(&mut columns, ("--login-tenant-column", "--login-user-column"))?;
        let occurred = columns.optional(self.login_column.as_deref(), "--login-column");
        let counted = [
            (EventType::Login, columns.clauses(self.login_where.as_ref(), "--login-where")?),
            (
                EventType::TokenRefresh,
                columns.clauses(self.token_refresh_where.as_ref(), "--token-refresh-where")?,
            ),
            (EventType::SignupComplete, columns.clauses(self.signup_where.as_ref(), "--signup-where")?),
        ];
        let rules = LoginRules {
            member,
            occurred: occurred.context("--login-column names the instant of a login")?,
            counted,
            skipped: columns.clauses(self.skip_where.as_ref(), "--skip-where")?,
        };
        if let Some(needed) = self.logins_need.as_ref().filter(|_| rules.counts_every_row()) {
            bail!("--{} says which rows are logins: only you know", needed.replace('_', "-"));
        }
        Ok((columns.0, rules))
    }

    fn member(
        &self,
        columns: &mut Columns,
        (tenant, user): (&'static str, &'static str),
    ) -> anyhow::Result<Member> {
        let tenant = match (&self.tenant, &self.tenant_column) {
            (Some(name), _) => Tenant::Named(name.clone()),
            (None, Some(name)) => Tenant::Column(columns.add(name, tenant)),
            (None, None) => bail!("--tenant names the tenant of all rows, or {tenant} the column of it"),
        };
        let user_column = self.user_column.as_ref().with_context(|| format!("{user} names the user"))?;
        Ok(Member { tenant, user: columns.add(user_column, user) })
    }

    fn confirmation(&self, columns: &mut Columns) -> anyhow::Result<Confirmation> {
        let clauses = columns.clauses(self.confirmed_where.as_ref(), "--confirmed-where")?;
        let since = columns.optional(self.confirmed_at_column.as_deref(), "--confirmed-at-column");
        Ok(match (self.confirmed, &self.confirmed_column, since) {
            (Some(Everybody::All), ..) => Confirmation::All,
            (Some(Everybody::None), ..) => Confirmation::None,
            (None, Some(name), _) => Confirmation::Told(columns.add(name, "--confirmed-column")),
            (None, None, Some(since)) => Confirmation::Since(since, clauses),
            (None, None, None) if clauses.is_empty() => Confirmation::None,
            (None, None, None) => Confirmation::Where(clauses),
        })
    }
}

/// `zone`: that of an instant without an offset.
fn created_otherwise(text: &str, zone: Option<Tz>) -> anyhow::Result<CreatedOtherwise> {
    if text == "earliest" {
        return Ok(CreatedOtherwise::Earliest);
    }
    let reading =
        Reading { zone: zone.unwrap_or(Tz::UTC), numbers: None, nulls: Vec::new(), dates_are_days: false };
    let read = reading.parse(text).ok().filter(|(at, _)| *at >= UtcInstant::EARLIEST);
    let (at, _) =
        read.context("--created: expected an instant such as 2024-01-31T16:00:00Z, a date, or earliest")?;
    Ok(CreatedOtherwise::At(at))
}

/// The columns in use, as they are named.
#[derive(Default)]
struct Columns(Fields);

impl Columns {
    fn add(&mut self, name: &str, flag: &'static str) -> At {
        match name.strip_suffix('?') {
            Some(name) => self.0.add(name, flag, true),
            None => self.0.add(name, flag, false),
        }
    }

    /// An empty name says that there is no such column.
    fn optional(&mut self, name: Option<&str>, flag: &'static str) -> Option<At> {
        name.filter(|name| !name.is_empty()).map(|name| self.add(name, flag))
    }

    fn clauses(&mut self, texts: Option<&Texts>, flag: &'static str) -> anyhow::Result<Clauses> {
        let mut clauses = Clauses::default();
        for text in texts.into_iter().flat_map(Texts::iter).filter(|text| !text.is_empty()) {
            let added = clauses.add(text, |name| self.add(name, flag));
            added.map_err(|expected| anyhow::anyhow!("{flag} {text:?}: {expected}"))?;
        }
        Ok(clauses)
    }
}
