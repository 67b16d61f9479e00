//! CSV that is quoted as it should be. The reader of rows takes a quote that is never closed for a field that goes on, and
//! every row in it would be lost without a word.

use std::io::{self, Read};

/// Passes bytes on up to the first quote that is wrong; then it fails.
pub(super) struct Quoted<R> {
    inner: R,
    delimiter: u8,
    state: State,
    /// The line of the next byte, and that of the quote that was opened last; from 1.
    line: u64,
    opened: u64,
    fault: Option<String>,
}

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
        Self { inner, delimiter, state: State::FieldStart, line: 1, opened: 0, fault: None }
    }

    /// # Errors
    /// The fault, in words.
    fn step(&mut self, byte: u8) -> Result<(), String> {
        self.state = match (self.state, byte) {
            (State::InQuotes, b'"') => State::Closed,
            (State::InQuotes, _) => State::InQuotes,
            (State::FieldStart | State::Closed, b'"') => {
                if self.state == State::FieldStart {
                    self.opened = self.line;
                }
                State::InQuotes
            }
            (_, b'\r' | b'\n') => State::FieldStart,
            (_, byte) if byte == self.delimiter => State::FieldStart,
            (State::Closed, _) => {
                return Err(format!(
                    "line {}: more behind the quotes that were opened on line {}; one of a value is written twice",
                    self.line, self.opened
                ));
            }
            (State::FieldStart | State::Plain, _) => State::Plain,
        };
        self.line += u64::from(byte == b'\n');
        Ok(())
    }
}

impl<R: Read> Read for Quoted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(fault) = self.fault.take() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        let read = self.inner.read(buffer)?;
        for (at, &byte) in buffer[..read].iter().enumerate() {
            if let Err(fault) = self.step(byte) {
                // What comes before it is in order.
                self.fault = Some(fault);
                return if at == 0 { self.read(buffer) } else { Ok(at) };
            }
        }
        if read == 0 && !buffer.is_empty() && self.state == State::InQuotes {
            let fault = format!("the quotes that were opened on line {} are never closed", self.opened);
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        Ok(read)
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

    fn read(text: &str) -> Result<(), String> {
        let mut read = String::new();
        let whole = Quoted::new(text.as_bytes(), b';').read_to_string(&mut read);
        let mut slowly = String::new();
        let slow = Quoted::new(Slow(text.as_bytes()), b';').read_to_string(&mut slowly);
        assert_eq!(read, slowly, "however much is read at once");
        assert_eq!(whole.is_ok(), slow.is_ok());
        if whole.is_ok() {
            assert_eq!(read, text);
        }
        whole.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_in_order_is_passed_on() {
        for text in [
            "",
            "a;b\n1;2\n",
            "\"a\";b\r\n\"1\r\n\";\"\"\r\n",
            "\"say \"\"hello\"\"\";\"\"\"\"\n",
            "5\" pipe;it\"s\n",
            "\"the end\"",
        ] {
            assert_eq!(read(text), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            ("a;b\n1;\"Bob\n2;Al\n", "opened on line 2 are never closed"),
            ("a;b\n1;\"Bob\n2;\"Al\"\n3;x\n", "line 3: more behind the quotes that were opened on line 2"),
            ("a\n\"u\"2\n", "line 2: more behind"),
            ("\"", "opened on line 1 are never closed"),
        ] {
            assert!(read(text).unwrap_err().contains(said), "{text:?}: {:?}", read(text));
        }
    }
}
