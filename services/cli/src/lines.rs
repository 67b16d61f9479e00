//! Cuts a stream into the lines of NDJSON, without ever holding more of a line than is allowed.

use std::io::{self, BufRead, ErrorKind};

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Appended to the body, without the white space around it, with a newline behind it.
    Event,
    /// Nothing but white space.
    Blank,
    /// Longer than a line may be: skipped.
    TooLong,
}

/// The lines of one file.
pub(crate) struct Lines<R> {
    input: R,
    /// The longest line, in bytes.
    bytes_max: usize,
    /// Number of lines read, blank ones included.
    pub(crate) number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of more than `bytes_max` bytes are skipped.
    pub(crate) fn new(input: R, bytes_max: usize) -> Self {
        Self { input, bytes_max, number: 0 }
    }

    /// Reads the next line; `None` at the end.
    ///
    /// # Errors
    /// The input's error; `body` is then as it was before.
    pub(crate) fn read_into(&mut self, body: &mut Vec<u8>) -> io::Result<Option<Line>> {
        let start = body.len();
        match self.read_raw(body) {
            Ok(None) => Ok(None),
            Ok(Some(too_long)) => {
                self.number += 1;
                let end = start + body[start..].trim_ascii_end().len();
                body.truncate(if too_long { start } else { end });
                if too_long {
                    return Ok(Some(Line::TooLong));
                }
                if body.len() == start {
                    return Ok(Some(Line::Blank));
                }
                body.push(b'\n');
                Ok(Some(Line::Event))
            }
            Err(error) => {
                body.truncate(start);
                Err(error)
            }
        }
    }

    /// Appends the line without leading white space, at most `bytes_max` bytes of it; whether more than
    /// white space was left out. `None` at the end of the input.
    fn read_raw(&mut self, body: &mut Vec<u8>) -> io::Result<Option<bool>> {
        let start = body.len();
        let mut too_long = false;
        let mut anything = false;
        loop {
            let available = match self.input.fill_buf() {
                Ok([]) => return Ok(anything.then_some(too_long)),
                Ok(available) => available,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            anything = true;
            let newline = memchr::memchr(b'\n', available);
            let mut part = &available[..newline.unwrap_or(available.len())];
            if body.len() == start {
                part = part.trim_ascii_start();
            }
            let room = self.bytes_max - (body.len() - start);
            let (kept, rest) = part.split_at(part.len().min(room));
            body.extend_from_slice(kept);
            too_long |= !rest.trim_ascii_start().is_empty();
            let used = newline.map_or(available.len(), |at| at + 1);
            self.input.consume(used);
            if newline.is_some() {
                return Ok(Some(too_long));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use lastseen_event::limits::EVENT_BYTES_MAX;

    use super::*;

    /// Every line with its number, read through buffers of several sizes with the same result.
    fn lines(text: &str) -> (Vec<(u64, Line)>, String) {
        let read = |capacity| {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, text.as_bytes()), EVENT_BYTES_MAX);
            let (mut found, mut body) = (Vec::new(), Vec::new());
            while let Some(line) = lines.read_into(&mut body).unwrap() {
                found.push((lines.number, line));
            }
            (found, String::from_utf8(body).unwrap())
        };
        let whole = read(1 << 20);
        for capacity in [1, 2, 7, 4096] {
            assert_eq!(read(capacity), whole, "buffer of {capacity} bytes");
        }
        whole
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_the_last_one_may_have_no_end() {
        let (found, body) = lines("  {\"a\": 1} \r\n\n \t\r\n{}\n{\"b\":2}");
        let expected =
            [(1, Line::Event), (2, Line::Blank), (3, Line::Blank), (4, Line::Event), (5, Line::Event)];
        assert_eq!(found, expected);
        assert_eq!(body, "{\"a\": 1}\n{}\n{\"b\":2}\n");
        assert_eq!(lines(""), (vec![], String::new()));
    }

    #[test]
    fn the_limit_counts_the_event_and_not_the_white_space_around_it() {
        let longest = "x".repeat(EVENT_BYTES_MAX);
        let blank = " ".repeat(EVENT_BYTES_MAX + 5);
        let (found, body) = lines(&format!("{blank}{longest}{blank}\n{longest}x\n{longest} x\n{blank}\n1"));
        let kinds: Vec<_> = found.into_iter().map(|(_, line)| line).collect();
        assert_eq!(kinds, [Line::Event, Line::TooLong, Line::TooLong, Line::Blank, Line::Event]);
        assert_eq!(body, format!("{longest}\n1\n"));
    }
}
