//! The command line of a benchmark. What else cargo passes is ignored.

/// The value behind `name`.
pub(crate) fn value(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    Some(arguments.next().unwrap_or_else(|| panic!("{name} takes a value")))
}

/// The number behind `name`.
pub(crate) fn number(name: &str) -> Option<u32> {
    let number = value(name)?.parse().ok().filter(|number| *number > 0);
    Some(number.unwrap_or_else(|| panic!("{name} takes a number above 0")))
}
