//! Tables as JSON: an object a line, a sequence of objects, an array of them, or a document with such an array in it. All of them
//! are read row by row: of a document, no more is held than the fields of a row that are in use.

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use struson::reader::json_path::JsonPathPiece;
use struson::reader::{
    JsonReader as _, JsonStreamReader, ReaderError, ReaderSettings, SyntaxErrorKind, ValueType,
};

use super::record::{At, BadColumns, Fault, Field, Fields, Kind, Next, Record};
use super::rows::Layout;
use crate::input::Input;
use crate::lines::{Line, Lines};

/// The longest line of NDJSON.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Sets a column to a value of JSON. Returns the fault where it is an array or an object.
pub(super) fn set(record: &mut Record, (at, field): (At, &Field), value: &Value) -> Option<Fault> {
    match value {
        Value::Null => {}
        Value::String(text) => record.set(at, text, Kind::Text),
        Value::Number(number) if number.is_f64() => record.set(at, &number.to_string(), Kind::Rounded),
        Value::Bool(_) | Value::Number(_) => record.set(at, &value.to_string(), Kind::Text),
        Value::Array(_) => return Some(Fault::of(field, "expected one value, found an array")),
        Value::Object(_) => return Some(Fault::of(field, "expected one value, found an object")),
    }
    None
}

/// The columns of rows that are objects: an absent field is null, but a column that no row has is not there.
struct Objects {
    fields: Fields,
    /// The columns that a row had, be it null.
    found: Vec<bool>,
    /// The columns that are known to be in some row: a file is read before it is read.
    checked: Option<Vec<bool>>,
    /// The keys of the first row.
    keys: Option<Vec<String>>,
}

impl Objects {
    fn new(fields: &Fields, checked: Option<&[bool]>) -> Self {
        let found = vec![false; fields.len()];
        Self { fields: fields.clone(), found, checked: checked.map(<[bool]>::to_vec), keys: None }
    }

    fn fill(&mut self, object: &Map<String, Value>, record: &mut Record) -> Next {
        let mut fault = None;
        for ((at, field), found) in self.fields.iter().zip(&mut self.found) {
            *found |=
                field.path.find(object, |value| fault = fault.take().or(set(record, (at, field), value)));
        }
        fault.map_or(Next::Row, Next::Bad)
    }

    fn has(&self, at: At) -> bool {
        *at.of(self.checked.as_ref().unwrap_or(&self.found))
    }

    /// True if all columns are there, those included that need not be.
    fn has_all(&self) -> bool {
        self.found.iter().all(|found| *found)
    }

    /// # Errors
    /// If there are rows, and none has a column.
    fn end(&self) -> anyhow::Result<Next> {
        let mut fields = self.fields.iter().zip(&self.found);
        let missing = fields.find(|((_, field), found)| !**found && !field.is_optional);
        match (missing, &self.keys) {
            (Some(((_, field), _)), Some(keys)) => {
                Err(BadColumns::missing(field, keys)).context("not one row has a column, be it null")
            }
            _ => Ok(Next::End),
        }
    }
}

/// An object a line.
pub(crate) struct NdjsonRows {
    lines: Lines<Input>,
    objects: Objects,
    line: Vec<u8>,
}

impl NdjsonRows {
    /// `checked`: the columns that it has, if it was read before.
    pub(crate) fn new(input: Input, checked: Option<&[bool]>, fields: &Fields) -> Self {
        let lines = Lines::new(input, LINE_BYTES_MAX);
        Self { lines, objects: Objects::new(fields, checked), line: Vec::new() }
    }

    pub(crate) fn has(&self, at: At) -> bool {
        self.objects.has(at)
    }

    pub(crate) fn has_all(&self) -> bool {
        self.objects.has_all()
    }

    /// # Errors
    /// The input's error; it is a document; or no row has a column.
    pub(crate) fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        loop {
            self.line.clear();
            record.clear();
            let read = self.lines.read_into(&mut self.line);
            record.line = self.lines.number;
            match read.with_context(|| format!("after line {}", record.line))? {
                None => return self.objects.end(),
                Some(Line::Blank) => {}
                Some(Line::TooLong) => return Ok(Next::Bad(Fault::of_row("expected a shorter line"))),
                Some(Line::Event) => return self.object(record),
            }
        }
    }

    fn object(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        match serde_json::from_slice::<Map<String, Value>>(&self.line) {
            Ok(object) => {
                self.objects.keys.get_or_insert_with(|| object.keys().cloned().collect());
                Ok(self.objects.fill(&object, record))
            }
            Err(error) => {
                let is_document = error.is_eof() || self.line.starts_with(b"[");
                if self.objects.keys.is_none() && is_document {
                    bail!(
                        "line {}: expected an object on each line, found the beginning of a document: --format json reads it",
                        record.line
                    );
                }
                Ok(Next::Bad(Fault::of_row(format!("expected a JSON object: {}", without_place(&error)))))
            }
        }
    }
}

/// The words of an error without line and column, which would be those in the line.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// A document.
pub(crate) struct JsonRows {
    json: JsonStreamReader<Input>,
    objects: Objects,
    /// Fields of the document on the way to the rows, if they are named.
    array: Option<Vec<String>>,
    state: State,
    /// Number of values at the top so far.
    values: u64,
    /// An array of objects in the first one, if that was taken for a row.
    nested: Option<String>,
}

/// The place in a document.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Before a value at the top.
    Top,
    /// In the array of rows; the fields of the objects that it is in, the outermost first.
    Rows(Vec<String>),
}

impl JsonRows {
    /// `checked`: the columns that it has, if it was read before.
    pub(crate) fn new(input: Input, checked: Option<&[bool]>, layout: &Layout, fields: &Fields) -> Self {
        let settings = ReaderSettings {
            allow_comments: false,
            allow_trailing_comma: false,
            allow_multiple_top_level: true,
            track_path: false,
            max_nesting_depth: Some(128),
            restrict_number_values: true,
        };
        Self {
            json: JsonStreamReader::new_custom(input, settings),
            objects: Objects::new(fields, checked),
            array: layout.array.as_ref().map(|path| path.split('.').map(str::to_owned).collect()),
            state: State::Top,
            values: 0,
            nested: None,
        }
    }

    pub(crate) fn has(&self, at: At) -> bool {
        self.objects.has(at)
    }

    /// # Errors
    /// The input's error; it is no JSON; it is unclear which array is meant; or no row has a column.
    pub(crate) fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        record.clear();
        loop {
            let next = if self.state == State::Top { self.top(record) } else { self.element(record) };
            match next {
                Ok(Some(next)) => return Ok(next),
                Ok(None) => {}
                Err(error) => return Err(error.context(format!("line {}", self.line()))),
            }
        }
    }

    /// The line of what comes next.
    fn line(&self) -> u64 {
        self.json.current_position(false).line_pos.map_or(0, |at| at.line + 1)
    }

    /// The next thing at the top. `None`: the state says it.
    fn top(&mut self, record: &mut Record) -> anyhow::Result<Option<Next>> {
        if self.values > 0 && !self.json.has_next()? {
            if let (1, Some(array)) = (self.values, &self.nested) {
                bail!(
                    "it is one object, with the array {array} in it: --array {array} reads the rows there, --array . reads one row"
                );
            }
            return self.objects.end().map(Some);
        }
        let found = match self.json.peek() {
            Ok(found) => found,
            // There is nothing at all in an empty file.
            Err(ReaderError::SyntaxError(error))
                if self.values == 0 && error.kind == SyntaxErrorKind::IncompleteDocument =>
            {
                return self.objects.end().map(Some);
            }
            Err(error) => return Err(error.into()),
        };
        self.values += 1;
        record.line = self.line();
        match (found, self.array.clone()) {
            // It may also be the array itself that was exported.
            (ValueType::Array, _) => {
                self.json.begin_array()?;
                self.state = State::Rows(Vec::new());
                Ok(None)
            }
            (ValueType::Object, None) => self.object_at_top(record),
            (ValueType::Object, Some(path)) if path.iter().all(String::is_empty) => {
                self.row(record).map(Some)
            }
            (ValueType::Object, Some(path)) => {
                let pieces: Vec<JsonPathPiece> =
                    path.iter().cloned().map(JsonPathPiece::ObjectMember).collect();
                let array = path.join(".");
                self.json.seek_to(&pieces).with_context(|| format!("there is no {array} (--array)"))?;
                if self.json.peek()? != ValueType::Array {
                    bail!("{array} is no array (--array)");
                }
                self.json.begin_array()?;
                self.state = State::Rows(path);
                Ok(None)
            }
            (_, Some(path)) => bail!("expected an object with {} in it (--array)", path.join(".")),
            _ => bail!("expected an object, or an array of objects"),
        }
    }

    /// An object that is a row, or a document with an array of rows.
    fn object_at_top(&mut self, record: &mut Record) -> anyhow::Result<Option<Next>> {
        self.json.begin_object()?;
        let mut object = Map::new();
        let mut keys = Vec::new();
        let mut has_array = false;
        while self.json.has_next()? {
            let key = self.json.next_name_owned()?;
            let is_used = self.is_used(&key);
            if self.json.peek()? == ValueType::Array && !is_used {
                has_array = true;
                self.json.begin_array()?;
                let has_rows =
                    self.json.has_next()? && matches!(self.json.peek()?, ValueType::Object | ValueType::Null);
                if has_rows && object.is_empty() {
                    self.state = State::Rows(vec![key]);
                    return Ok(None);
                }
                if has_rows && self.values == 1 {
                    self.nested = Some(key.clone());
                }
                self.rest_of_array()?;
            } else {
                self.field(&key, is_used, &mut object)?;
            }
            keys.push(key);
        }
        self.json.end_object()?;
        if object.is_empty() && has_array {
            // A document without any row.
            return Ok(None);
        }
        self.objects.keys.get_or_insert(keys);
        Ok(Some(self.objects.fill(&object, record)))
    }

    /// The next element of the array of rows.
    fn element(&mut self, record: &mut Record) -> anyhow::Result<Option<Next>> {
        if !self.json.has_next()? {
            self.json.end_array()?;
            if let State::Rows(within) = std::mem::replace(&mut self.state, State::Top) {
                for _ in &within {
                    self.rest_of_object(&within)?;
                }
            }
            return Ok(None);
        }
        let found = self.json.peek()?;
        record.line = self.line();
        if found != ValueType::Object {
            self.json.skip_value()?;
            return Ok(Some(Next::Bad(Fault::of_row(format!("expected an object, found {}", name(found))))));
        }
        self.row(record).map(Some)
    }

    /// An object that is a row.
    fn row(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        self.json.begin_object()?;
        let mut object = Map::new();
        let mut keys = Vec::new();
        while self.json.has_next()? {
            let key = self.json.next_name_owned()?;
            let is_used = self.is_used(&key);
            self.field(&key, is_used, &mut object)?;
            if self.objects.keys.is_none() {
                keys.push(key);
            }
        }
        self.json.end_object()?;
        self.objects.keys.get_or_insert(keys);
        Ok(self.objects.fill(&object, record))
    }

    /// True if a column in use may be in a field of a row.
    fn is_used(&self, key: &str) -> bool {
        self.objects.fields.iter().any(|(_, field)| field.path.begins_with(key))
    }

    /// Reads to the end of an object that the rows are in.
    fn rest_of_object(&mut self, within: &[String]) -> anyhow::Result<()> {
        while self.json.has_next()? {
            let key = self.json.next_name_owned()?;
            if self.array.is_none() && self.is_used(&key) {
                let array = within.join(".");
                bail!(
                    "{key} stands beside the array {array}: --array {array} reads the rows there, --array . reads objects as rows"
                );
            }
            if self.array.is_none() && self.json.peek()? == ValueType::Array {
                self.json.begin_array()?;
                if self.json.has_next()? && self.json.peek()? == ValueType::Object {
                    bail!(
                        "there are several arrays of objects, {key} among them: --array names the one of the rows"
                    );
                }
                self.rest_of_array()?;
            } else {
                self.json.skip_value()?;
            }
        }
        self.json.end_object()?;
        Ok(())
    }

    /// Reads to the end of an array without use.
    fn rest_of_array(&mut self) -> anyhow::Result<()> {
        while self.json.has_next()? {
            self.json.skip_value()?;
        }
        self.json.end_array()?;
        Ok(())
    }

    /// Reads the value of a field into `object` if it is used.
    fn field(&mut self, key: &str, is_used: bool, object: &mut Map<String, Value>) -> anyhow::Result<()> {
        if is_used {
            let value = value(&mut self.json)?;
            object.insert(key.to_owned(), value);
        } else {
            self.json.skip_value()?;
        }
        Ok(())
    }
}

/// The name of a kind of value in messages.
fn name(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Array => "an array",
        ValueType::Object => "an object",
        ValueType::String => "text",
        ValueType::Number => "a number",
        ValueType::Boolean => "true or false",
        ValueType::Null => "null",
    }
}

/// Reads a value. The depth is bounded by the reader's own limit.
fn value(json: &mut JsonStreamReader<Input>) -> anyhow::Result<Value> {
    Ok(match json.peek()? {
        ValueType::Null => {
            json.next_null()?;
            Value::Null
        }
        ValueType::Boolean => Value::Bool(json.next_bool()?),
        ValueType::String => Value::String(json.next_string()?),
        ValueType::Number => serde_json::from_str(json.next_number_as_str()?)?,
        ValueType::Array => {
            json.begin_array()?;
            let mut elements = Vec::new();
            while json.has_next()? {
                elements.push(value(json)?);
            }
            json.end_array()?;
            Value::Array(elements)
        }
        ValueType::Object => {
            json.begin_object()?;
            let mut object = Map::new();
            while json.has_next()? {
                let name = json.next_name_owned()?;
                object.insert(name, value(json)?);
            }
            json.end_object()?;
            Value::Object(object)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Vec<(u64, Result<[Option<String>; 2], String>)>;

    fn json(text: &'static str, array: Option<&str>) -> anyhow::Result<Read> {
        let mut fields = Fields::default();
        let columns = ["id", "at"].map(|name| fields.add(name, "--user-column", name == "at"));
        let layout = Layout { array: array.map(str::to_owned), ..Layout::default() };
        let mut rows = JsonRows::new(Box::new(text.as_bytes()), None, &layout, &fields);
        all(&fields, columns, |record| rows.next(record))
    }

    fn ndjson(text: &'static str) -> anyhow::Result<Read> {
        let mut fields = Fields::default();
        let columns = ["id", "at"].map(|name| fields.add(name, "--user-column", name == "at"));
        let mut rows = NdjsonRows::new(Box::new(text.as_bytes()), None, &fields);
        all(&fields, columns, |record| rows.next(record))
    }

    fn all(
        fields: &Fields,
        columns: [At; 2],
        mut next: impl FnMut(&mut Record) -> anyhow::Result<Next>,
    ) -> anyhow::Result<Read> {
        let mut record = Record::new(fields);
        let mut all = Vec::new();
        loop {
            let row = match next(&mut record)? {
                Next::Row => Ok(columns.map(|at| record.get(at).map(str::to_owned))),
                Next::Bad(fault) => Err(fault.to_string()),
                Next::End => return Ok(all),
            };
            all.push((record.line, row));
        }
    }

    fn ids(read: &Read) -> Vec<(u64, &str)> {
        let id = |row: &Result<[Option<String>; 2], String>| row.as_ref().is_ok_and(|row| row[0].is_some());
        assert!(read.iter().all(|(_, row)| id(row)), "{read:?}");
        read.iter().map(|(line, row)| (*line, row.as_ref().unwrap()[0].as_deref().unwrap())).collect()
    }

    #[test]
    fn every_layout_of_a_document_gives_its_rows() {
        for (text, array, expected) in [
            ("[{\"id\":1},\n {\"id\":\"b\"}]", None, vec![(1, "1"), (2, "b")]),
            ("[\n  {\n    \"id\": 1\n  },\n  {\n    \"id\": 2\n  }\n]\n", None, vec![(2, "1"), (5, "2")]),
            ("{\"users\":[{\"id\":1}], \"next\": null}", None, vec![(1, "1")]),
            ("{\"n\":1,\"tags\":[],\n\"users\":[{\"id\":1},{\"id\":2}]}", None, vec![(2, "1"), (2, "2")]),
            (
                "{\"roles\":[{\"r\":1}],\"realm\":{\"users\":[{\"id\":1}]}}",
                Some("realm.users"),
                vec![(1, "1")],
            ),
            ("{\"id\":1,\"identities\":[{\"p\":1}]}\n{\"id\":2}", None, vec![(1, "1"), (2, "2")]),
            ("[{\"id\":1}][{\"id\":2}]", None, vec![(1, "1"), (1, "2")]),
            ("{\"users\":[{\"id\":1}]}\n{\"users\":[{\"id\":2}]}", None, vec![(1, "1"), (2, "2")]),
            ("{\"users\":[{\"id\":1}],\"id\":2}", Some("users"), vec![(1, "1")]),
            ("{\"users\":[{\"id\":1}],\"id\":2}", Some("."), vec![(1, "2")]),
            ("[]", None, vec![]),
            ("{\"users\":[]}", Some("users"), vec![]),
            ("{\"n\":0,\"users\":[]}", None, vec![]),
            ("[{\"id\":1}]", Some("users"), vec![(1, "1")]),
            ("", None, vec![]),
            (" \n", None, vec![]),
        ] {
            assert_eq!(ids(&json(text, array).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_table_is_said_with_its_line() {
        for (text, array, said) in [
            ("{\"users\":[{\"id\":1}],\n\"groups\":[{\"id\":2}]}", None, "line 2"),
            ("{\"users\":[{\"id\":1}],\n\"groups\":[{\"id\":2}]}", None, "several arrays of objects, groups"),
            ("{\"users\":1}", Some("users"), "users is no array"),
            ("{\"users\":1}", Some("rows"), "there is no rows"),
            ("[{\"id\":1},\n{\"id\":2", None, "line 2"),
            ("{\"more\":[{\"id\":1}],\"id\":2}", None, "id stands beside the array more"),
            ("{\"id\":2,\"users\":[{\"id\":1}]}", None, "it is one object, with the array users in it"),
            ("[{\"id\":1}\n{\"id\":2}]", None, "line 2"),
            ("5", None, "expected an object, or an array of objects"),
            ("[{\"x\":1}]", None, "there is no column id, but x; --user-column names it"),
        ] {
            let error = format!("{:#}", json(text, array).unwrap_err());
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_value_that_is_none_is_a_bad_row() {
        let read = json("{\"users\":[null,{\"id\":1}]}", None).unwrap();
        assert_eq!(read[0].1, Err("expected an object, found null".to_owned()));
        assert_eq!(read.len(), 2);
        let read = json(
            "[{\"id\":1}, 5, {\"id\":[1]}, {\"id\":1.5,\"at\":\"x\"}, {\"id\":99999999999999999999}]",
            None,
        );
        let read = read.unwrap();
        assert_eq!(read[1].1, Err("expected an object, found a number".to_owned()));
        assert_eq!(read[2].1, Err("id: expected one value, found an array (--user-column)".to_owned()));
        assert_eq!(read[3].1, Ok([Some("1.5".to_owned()), Some("x".to_owned())]));
        assert_eq!(read[4].1.as_ref().unwrap()[0].as_deref(), Some("1e+20"), "and it is a rounded number");
    }

    #[test]
    fn a_document_among_lines_is_said_once() {
        assert_eq!(ids(&ndjson("{\"id\":1}\n\n{\"id\":2}\n").unwrap()), [(1, "1"), (3, "2")]);
        for text in ["[\n{\"id\":1}\n]\n", "{\n\"id\":1\n}\n"] {
            let error = format!("{:#}", ndjson(text).unwrap_err());
            assert!(error.contains("--format json"), "{error}");
        }
        let read = ndjson("{\"id\":1}\n{\"id\":\nnot\n").unwrap();
        assert_eq!(read[1].1, Err("expected a JSON object: EOF while parsing a value".to_owned()));
        assert!(read[2].1.is_err());
    }
}
