//! CSV that is quoted as it should be, a line feed behind each row. The reader of rows takes a quote that is never closed for a field
//! that goes on, and every row in it would be lost without a word.

use std::collections::VecDeque;
use std::io::{self, Read};

/// Passes bytes on up to the first quote that is wrong; then it fails. Blank lines are left out, and every row ends with a line feed
/// alone.
pub(super) struct Quoted<R> {
    inner: R,
    delimiter: u8,
    state: State,
    /// True if no byte of the row was read yet.
    is_row_start: bool,
    /// True if the last byte was a carriage return that ended a row.
    is_behind_return: bool,
    /// The line of the next byte, and that of the quote that was opened last; from 1.
    line: u64,
    opened: u64,
    /// The line of the next byte among those that are passed on.
    passed_line: u64,
    /// Blank lines: from which line of those passed on there were how many.
    blanks: VecDeque<(u64, u64)>,
    /// Bytes of the row so far.
    row_bytes: usize,
    fault: Option<String>,
}

/// The longest row.
const ROW_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    InQuotes,
    /// Behind a quote in quotes: their end, or the first of two that stand for one.
    Closed,
}

impl<R> Quoted<R> {
    pub(super) fn new(inner: R, delimiter: u8) -> Self {
        Self {
            inner,
            delimiter,
            state: State::FieldStart,
            is_row_start: true,
            is_behind_return: false,
            line: 1,
            opened: 0,
            passed_line: 1,
            blanks: VecDeque::new(),
            row_bytes: 0,
            fault: None,
        }
    }

    /// Returns the line of the input that is a line of what was passed on. Of lines that are asked for in order.
    pub(super) fn line_of(&mut self, passed: u64) -> u64 {
        while self.blanks.get(1).is_some_and(|(from, _)| *from <= passed) {
            self.blanks.pop_front();
        }
        passed + self.blanks.front().filter(|(from, _)| *from <= passed).map_or(0, |(_, blanks)| *blanks)
    }

    /// Returns the byte to pass on for a byte, if any.
    ///
    /// # Errors
    /// The fault, in words.
    fn step(&mut self, byte: u8) -> Result<Option<u8>, String> {
        let is_behind_return = std::mem::take(&mut self.is_behind_return);
        self.row_bytes += 1;
        if self.row_bytes > ROW_BYTES_MAX {
            let begins = if self.state == State::InQuotes { self.opened } else { self.line };
            return Err(format!(
                "line {begins}: expected at most {ROW_BYTES_MAX} bytes in a row: is a quote never closed?"
            ));
        }
        if self.state == State::InQuotes {
            if byte == b'"' {
                self.state = State::Closed;
            } else if byte == b'\n' {
                if self.delimiter == b'\t' {
                    return Err(format!(
                        "line {}: a quote opens a field that goes on behind its line; --format tsv reads text without quotes",
                        self.opened
                    ));
                }
                self.line += 1;
                self.passed_line += 1;
            }
            return Ok(Some(byte));
        }
        if matches!(byte, b'\r' | b'\n') {
            if is_behind_return && byte == b'\n' {
                return Ok(None);
            }
            self.is_behind_return = byte == b'\r';
            return Ok(self.end_line());
        }
        self.state = match (self.state, byte) {
            (State::FieldStart, b'"') => {
                self.opened = self.line;
                State::InQuotes
            }
            (State::Closed, b'"') => State::InQuotes,
            (_, byte) if byte == self.delimiter => State::FieldStart,
            (State::Closed, _) => {
                return Err(format!(
                    "line {}: more behind the quotes that were opened on line {}; one of a value is written twice",
                    self.line, self.opened
                ));
            }
            _ => State::Plain,
        };
        self.is_row_start = false;
        Ok(Some(byte))
    }

    fn end_line(&mut self) -> Option<u8> {
        self.line += 1;
        self.row_bytes = 0;
        self.state = State::FieldStart;
        if std::mem::replace(&mut self.is_row_start, true) {
            let blanks = self.line - self.passed_line;
            match self.blanks.back_mut() {
                Some((from, all)) if *from == self.passed_line => *all = blanks,
                _ => self.blanks.push_back((self.passed_line, blanks)),
            }
            return None;
        }
        self.passed_line += 1;
        Some(b'\n')
    }
}

impl<R: Read> Read for Quoted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(fault) = self.fault.take() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
            }
            let read = self.inner.read(buffer)?;
            if read == 0 && self.state == State::InQuotes {
                let fault = format!("the quotes that were opened on line {} are never closed", self.opened);
                return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
            }
            let mut passed = 0;
            for at in 0..read {
                match self.step(buffer[at]) {
                    Ok(Some(byte)) => {
                        buffer[passed] = byte;
                        passed += 1;
                    }
                    Ok(None) => {}
                    // What comes before it is in order.
                    Err(fault) => {
                        self.fault = Some(fault);
                        break;
                    }
                }
            }
            if passed > 0 || read == 0 {
                return Ok(passed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    fn read(text: &str, delimiter: u8) -> Result<String, String> {
        let mut read = String::new();
        let whole = Quoted::new(text.as_bytes(), delimiter).read_to_string(&mut read);
        let mut slowly = String::new();
        let slow = Quoted::new(Slow(text.as_bytes()), delimiter).read_to_string(&mut slowly);
        assert_eq!(read, slowly, "however much is read at once");
        assert_eq!(whole.is_ok(), slow.is_ok());
        whole.map(|_| read).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_in_order_is_passed_on() {
        for (text, passed) in [
            ("", ""),
            ("a;b\n1;2\n", "a;b\n1;2\n"),
            ("\"a\";b\r\n\"1\r\n\";\"\"\r\n", "\"a\";b\n\"1\r\n\";\"\"\n"),
            ("\"say \"\"hello\"\"\";\"\"\"\"\n", "\"say \"\"hello\"\"\";\"\"\"\"\n"),
            ("5\" pipe;it\"s\n", "5\" pipe;it\"s\n"),
            ("\"the end\"", "\"the end\""),
            ("a\r1\r\r2", "a\n1\n2"),
            ("\r\n\na\n\r\n\n1\n", "a\n1\n"),
        ] {
            assert_eq!(read(text, b';').as_deref(), Ok(passed), "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            ("a;b\n1;\"Bob\n2;Al\n", "opened on line 2 are never closed"),
            ("a;b\n1;\"Bob\n2;\"Al\"\n3;x\n", "line 3: more behind the quotes that were opened on line 2"),
            ("a\n\"u\"2\n", "line 2: more behind"),
            ("\"", "opened on line 1 are never closed"),
            ("\n\r\na\n\n\"u\"2\n", "line 5: more behind"),
        ] {
            let said_so = read(text, b';').unwrap_err();
            assert!(said_so.contains(said), "{text:?}: {said_so}");
        }
    }

    #[test]
    fn a_row_has_an_end() {
        let text = "a\n\"".to_owned() + &"x\n".repeat(ROW_BYTES_MAX / 2);
        let said = read(&text, b',').unwrap_err();
        assert!(said.starts_with("line 2: expected at most 16777216 bytes in a row"), "{said}");
    }

    #[test]
    fn between_tabs_a_quoted_field_ends_on_its_line() {
        assert_eq!(read("a\tb\n\"1\"\t2\n", b'\t').as_deref(), Ok("a\tb\n\"1\"\t2\n"));
        let said = read("a\tb\n\"1\t2\n3\t\"4\n", b'\t').unwrap_err();
        assert!(said.starts_with("line 2: a quote opens") && said.contains("--format tsv"), "{said}");
    }

    #[test]
    fn lines_are_those_of_the_input() {
        let text = "\n\na\n\n1\n2\r\n\r\n\n\"3\n3\"\n4\n";
        let mut quoted = Quoted::new(text.as_bytes(), b',');
        let mut passed = String::new();
        quoted.read_to_string(&mut passed).unwrap();
        assert_eq!(passed, "a\n1\n2\n\"3\n3\"\n4\n");
        let lines: Vec<u64> = [1, 2, 3, 4, 6].into_iter().map(|line| quoted.line_of(line)).collect();
        assert_eq!(lines, [3, 5, 6, 9, 11]);
    }
}
