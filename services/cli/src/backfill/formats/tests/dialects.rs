//! One table, printed in every dialect that there is: the events are those of the table.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use flate2::write::GzEncoder;
use lastseen_event::wire::encode_published;
use lastseen_event::{BatchName, Event, EventId, EventType, TenantId, UserId, UtcInstant};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::args::TableFormat;
use crate::backfill::formats::record::{Next, Record};
use crate::backfill::formats::rows::{self, Rows};
use crate::backfill::rules::notes::Notes;
use crate::backfill::rules::users::{Row, Turns};
use crate::backfill::rules::values::{Moment, Values};
use crate::backfill::rules::words;
use crate::backfill::settings::Section;

const COLUMNS: [&str; 7] =
    ["tenant_id", "note", "user_id", "email_confirmed", "created_at", "modified_at", "deleted_at"];
const NOW: UtcInstant = UtcInstant::from_micros(1_800_000_000_000_000);

/// A user of an application.
#[derive(Clone, Debug)]
struct User {
    tenant: String,
    /// Text that means nothing here.
    note: String,
    id: String,
    confirmed: bool,
    created: UtcInstant,
    modified: Option<UtcInstant>,
    deleted: Option<UtcInstant>,
}

fn instants() -> impl Strategy<Value = UtcInstant> {
    // To the millisecond, which is all that a sheet keeps; never midnight, which it takes for a date.
    (700_000_000_001_i64..1_700_000_000_000)
        .prop_filter("midnight", |millis| millis % 86_400_000 != 0)
        .prop_map(|millis| UtcInstant::from_micros(millis * 1_000))
}

fn names() -> impl Strategy<Value = String> {
    "[-a-zA-Z0-9\\\\\"',;|{}\\[\\] .:#ä€😀]{1,12}".prop_filter("an id that no table damages", |name| {
        name.trim() == name
            && !words::is_null(name)
            && words::damage(name).is_none()
            && TenantId::new(name).is_ok()
    })
}

fn users() -> impl Strategy<Value = Vec<User>> {
    let user = (
        names(),
        "[a-z\"',;|\\\\\t\r\n ]{0,10}",
        names(),
        any::<bool>(),
        (instants(), prop::option::of(instants()), prop::option::of(instants())),
    );
    let user = user.prop_map(|(tenant, note, id, confirmed, (created, modified, deleted))| User {
        tenant,
        note,
        id,
        confirmed,
        created,
        modified,
        deleted,
    });
    prop::collection::vec(user, 0..8)
}

/// The events of the users, made by hand.
fn expected(users: &[User]) -> Vec<String> {
    let mut events = Vec::new();
    for User { tenant, id, confirmed, created, modified, deleted, .. } in users {
        let member = (TenantId::new(tenant).unwrap(), UserId::new(id).unwrap());
        let mut add = |event_type, at: Option<UtcInstant>, confirmed| {
            let Some(at) = at else { return };
            let batch = BatchName::new("b").unwrap();
            let id = EventId::of_backfill(batch, member, (event_type, at), (confirmed, None));
            let event = Event { confirmed, batch: Some(batch), ..Event::new(id, event_type, member, at) };
            events.push(line(&event));
        };
        add(EventType::UserCreated, Some(*created), Some(*confirmed));
        add(EventType::EstimatedActivity, confirmed.then_some(modified.unwrap_or(*created)), None);
        add(EventType::UserDeleted, *deleted, None);
    }
    events
}

fn line(event: &Event<'_>) -> String {
    let mut line = Vec::new();
    encode_published(event, &mut line);
    String::from_utf8(line).unwrap()
}

/// The events of a file, as a backfill makes them.
fn events(file: &Path, said: &Section, told: Option<TableFormat>) -> Vec<String> {
    let format = rows::format_of(file, told, (None, false)).unwrap();
    let (fields, rules) = said.user_rules().unwrap();
    let layout = said.layout().unwrap();
    let open = |there: Option<&[bool]>| {
        Rows::open(file, (format, &layout), (&fields, there), &Arc::default()).unwrap()
    };
    // A table without a row has no columns in JSON.
    let there = open(None).check(&fields).unwrap();
    let mut rows = open(Some(&there));
    let reading = said.reading();
    let moment = Moment { now: NOW, latest: NOW, is_of_cells: rows.is_of_cells() };
    let mut record = Record::new(&fields);
    let mut events = Vec::new();
    loop {
        match rows.next(&mut record).unwrap() {
            Next::End => return events,
            Next::Bad(fault) => panic!("{}:{}: {fault}", file.display(), record.line),
            Next::Row => {
                let values = Values { record: &record, fields: &fields, reading: &reading, moment };
                let row = Row::read(values, &rules, &mut Notes::default());
                let row = row
                    .unwrap_or_else(|fault| panic!("{}:{}: {fault}", file.display(), record.line))
                    .unwrap();
                events.extend(
                    row.events(BatchName::new("b").unwrap(), Turns::default()).map(|event| line(&event)),
                );
            }
        }
    }
}

fn texts(user: &User) -> [String; 7] {
    let text = |at: &Option<UtcInstant>| at.map_or_else(String::new, |at| at.to_string());
    [
        user.tenant.clone(),
        user.note.clone(),
        user.id.clone(),
        user.confirmed.to_string(),
        user.created.to_string(),
        text(&user.modified),
        text(&user.deleted),
    ]
}

/// A way to write CSV.
#[derive(Clone, Copy, Debug)]
struct Csv {
    delimiter: char,
    newline: &'static str,
    always_quoted: bool,
    with_header: bool,
    mark: &'static str,
    blank_lines: bool,
}

fn csv(users: &[User], csv: Csv) -> String {
    let mut text = csv.mark.to_owned();
    let mut row = |fields: &[String; 7]| {
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                text.push(csv.delimiter);
            }
            // Between tabs no quoted field goes on over lines.
            let field = if csv.delimiter == '\t' { field.replace(['\r', '\n'], " ") } else { field.clone() };
            let needs_quotes = field.contains([csv.delimiter, '"', '\r', '\n']);
            if csv.always_quoted || needs_quotes {
                let _ = write!(text, "\"{}\"", field.replace('"', "\"\""));
            } else {
                text.push_str(&field);
            }
        }
        text.push_str(csv.newline);
        if csv.blank_lines {
            text.push_str(csv.newline);
        }
    };
    if csv.with_header {
        row(&COLUMNS.map(str::to_owned));
    }
    for user in users {
        row(&texts(user));
    }
    text
}

fn tsv(users: &[User]) -> String {
    let escape = |field: &String| {
        if field.is_empty() {
            return r"\N".to_owned();
        }
        field.replace('\\', r"\\").replace('\t', r"\t").replace('\n', r"\n").replace('\r', r"\r")
    };
    let row = |fields: [String; 7]| fields.iter().map(escape).collect::<Vec<_>>().join("\t") + "\n";
    let header = COLUMNS.join("\t") + "\n";
    users.iter().map(texts).map(row).fold(header, |text, row| text + &row)
}

fn object(user: &User) -> Value {
    let text = |at: &Option<UtcInstant>| at.map(|at| at.to_string());
    json!({
        "tenant_id": user.tenant, "note": {"text": user.note, "list": [{"x": 1}]}, "user_id": user.id,
        "email_confirmed": user.confirmed, "created_at": user.created.to_string(),
        "modified_at": text(&user.modified), "deleted_at": text(&user.deleted),
    })
}

fn parquet(users: &[User], file: &Path) {
    let text = |of: fn(&User) -> &String| {
        Arc::new(users.iter().map(of).map(Some).collect::<StringArray>()) as ArrayRef
    };
    let instants = |of: &dyn Fn(&User) -> Option<UtcInstant>| {
        Arc::new(
            users
                .iter()
                .map(|user| of(user).map(UtcInstant::as_micros))
                .collect::<TimestampMicrosecondArray>(),
        ) as ArrayRef
    };
    let confirmed =
        Arc::new(users.iter().map(|user| Some(user.confirmed)).collect::<BooleanArray>()) as ArrayRef;
    let columns = [
        text(|user| &user.tenant),
        text(|user| &user.note),
        text(|user| &user.id),
        confirmed,
        instants(&|user| Some(user.created)),
        instants(&|user| user.modified),
        instants(&|user| user.deleted),
    ];
    let columns = COLUMNS.into_iter().zip(columns).map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(file).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn workbook(users: &[User], file: &Path) {
    use rust_xlsxwriter::{ExcelDateTime, Format, Workbook};
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    let as_instant = Format::new().set_num_format("yyyy-mm-dd hh:mm:ss.000");
    for (column, name) in (0..).zip(COLUMNS) {
        sheet.write_string(0, column, name).unwrap();
    }
    for (row, user) in (1..).zip(users) {
        for (column, text) in [(0, &user.tenant), (1, &user.note), (2, &user.id)] {
            sheet.write_string(row, column, text).unwrap();
        }
        sheet.write_boolean(row, 3, user.confirmed).unwrap();
        for (column, at) in [(4, Some(user.created)), (5, user.modified), (6, user.deleted)] {
            let Some(at) = at else { continue };
            let text = at.to_string();
            let at = ExcelDateTime::parse_from_str(text.trim_end_matches('Z')).unwrap();
            sheet.write_datetime_with_format(row, column, &at, &as_instant).unwrap();
        }
    }
    book.save(file).unwrap();
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_is_the_same_in_every_dialect(
        users in users(),
        delimiter in prop::sample::select(vec![',', ';', '|', '\t']),
        newline in prop::sample::select(vec!["\n", "\r\n"]),
        (always_quoted, with_header, blank_lines) in any::<(bool, bool, bool)>(),
        mark in prop::sample::select(vec!["", "\u{feff}"]),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let wanted = expected(&users);
        let usual = Section::usual();
        let how = Csv { delimiter, newline, always_quoted, with_header, mark, blank_lines };
        let text = csv(&users, how);
        let header = if with_header { String::new() } else { format!("header = {COLUMNS:?}") };
        let said = format!("delimiter = {:?}\n{header}", delimiter.to_string());
        let said = usual.clone().beaten_by(toml::from_str(&said).unwrap());
        let file = write(directory, "users.csv", &text);
        prop_assert_eq!(&events(&file, &said, None), &wanted, "{:?}\n{}", how, text);
        let packed = directory.join("users.csv.gz");
        let mut gzip = GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap();
        prop_assert_eq!(&events(&packed, &said, None), &wanted, "packed");

        let file = write(directory, "users.txt", &tsv(&users));
        prop_assert_eq!(&events(&file, &usual, Some(TableFormat::Tsv)), &wanted, "TSV\n{}", tsv(&users));

        let objects: Vec<Value> = users.iter().map(object).collect();
        let lines: String = objects.iter().map(|object| object.to_string() + "\n").collect();
        let document = json!({"total": objects.len(), "none": [], "users": objects, "next": null});
        let pretty: String = objects.iter().flat_map(|object| [format!("{object:#}"), "\n".to_owned()]).collect();
        let printed = [
            ("lines.ndjson", format!("{mark}{lines}")),
            ("array.json", format!("{mark}{}", Value::from(objects.clone()))),
            ("pretty.json", format!("{:#}", Value::from(objects.clone()))),
            ("document.json", format!("{document:#}")),
            ("sequence.json", pretty),
        ];
        for (name, text) in printed {
            let file = write(directory, name, &text);
            prop_assert_eq!(&events(&file, &usual, None), &wanted, "{}\n{}", name, text);
        }

        let file = directory.join("users.parquet");
        parquet(&users, &file);
        prop_assert_eq!(&events(&file, &usual, None), &wanted, "Parquet");
        let file = directory.join("users.xlsx");
        workbook(&users, &file);
        prop_assert_eq!(&events(&file, &usual, None), &wanted, "a workbook");
    }
}
