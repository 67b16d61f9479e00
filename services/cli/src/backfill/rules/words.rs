//! Words that tables of all origins write, and what spreadsheets make of ids.

/// True if a text stands for null, in whatever language it was printed.
pub(crate) fn is_null(text: &str) -> bool {
    const WORDS: [&str; 8] = ["null", "none", "nil", "nan", "n/a", "(null)", "<null>", "undefined"];
    const LONGEST: usize = 9;
    text.is_empty()
        || text == r"\N"
        || (text.len() <= LONGEST && WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)))
}

/// Reads the words that databases and languages write for true and false.
pub(crate) fn truth(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(["true", "t", "1", "yes", "y"]) {
        Some(true)
    } else if is_one_of(["false", "f", "0", "no", "n"]) {
        Some(false)
    } else {
        None
    }
}

/// Something that happened to an id on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// It is the id of another user, or of several: it is refused.
    Certain(&'static str),
    /// It looks so.
    Likely,
}

/// Returns what a spreadsheet, or a program that read numbers as floats, did to an id. `None`: nothing is seen.
pub(crate) fn damage(id: &str) -> Option<Damage> {
    if id.trim() != id {
        return Some(Damage::Certain("expected an id without spaces at its edges"));
    }
    if is_error_of_spreadsheet(id) {
        return Some(Damage::Certain("expected an id, found the error of a spreadsheet"));
    }
    if is_scientific(id) {
        return Some(Damage::Certain(
            "expected an id as its digits: this is a rounded number, and may be several users",
        ));
    }
    let is_float = id.rsplit_once('.').is_some_and(|(whole, fraction)| {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_digits(whole) && is_digits(fraction) && fraction.bytes().all(|byte| byte == b'0')
    });
    (is_float || id.starts_with('\'')).then_some(Damage::Likely)
}

fn is_error_of_spreadsheet(text: &str) -> bool {
    const ERRORS: [&str; 9] =
        ["#REF!", "#N/A", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"];
    ERRORS.contains(&text) || (text.len() > 1 && text.bytes().all(|byte| byte == b'#'))
}

/// True for the form of `2.71171E+17`. A sign is always written, so that `12e5`, which may be an id, is none.
fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let is_exponent = exponent.strip_prefix(['+', '-']).is_some_and(is_digits);
    whole.len() == 1 && is_digits(whole) && is_digits(fraction) && is_exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_null_are_null_in_any_case() {
        for text in ["", r"\N", "NULL", "None", "nan", "NaN", "N/A", "(null)", "nil", "undefined", "<NULL>"] {
            assert!(is_null(text), "{text}");
        }
        for text in ["0", "nobody", "na", " null", "none of these"] {
            assert!(!is_null(text), "{text}");
        }
    }

    #[test]
    fn ids_that_spreadsheets_damaged_are_known() {
        for id in
            ["2.71171E+17", "1E+05", "-2.7e+17", "1e-05", "#REF!", "#N/A", "#####", "u1 ", " u1", "u\u{a0}"]
        {
            assert!(matches!(damage(id), Some(Damage::Certain(_))), "{id}");
        }
        for id in ["8127.0", "1.00", "'auth0|1"] {
            assert_eq!(damage(id), Some(Damage::Likely), "{id}");
        }
        for id in
            ["8127", "12e5", "1e10", "2.7", "a.0", ".0", "8127.", "#", "#general", "e+5", "1.2.0", "O'Neil"]
        {
            assert_eq!(damage(id), None, "{id}");
        }
    }
}
