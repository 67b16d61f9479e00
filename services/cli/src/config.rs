//! The configuration file of `lastseen serve`: a flag beats its variable, a variable beats the file, the file beats the
//! default.
//!
//! There is one definition of every setting, its flag. A key of the file is the name of a flag with `_` in place of `-`, and its
//! value becomes the flag's default.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use toml::{Table, Value};

use crate::args::Args;
use crate::stdout::outln;

/// The command with a configuration.
const SERVE: &str = "serve";
/// Flags that are about the file itself.
const NOT_IN_FILE: [&str; 3] = ["config", "print_config", "help"];

/// Reads the command line, with the configuration file where one is asked for. Ends the process as clap does, where one of
/// them is wrong, or where only the configuration was to be printed.
pub(crate) fn parse() -> Args {
    let mut command = Args::command();
    if let Some(path) = asked_file() {
        command = match with_file(command.clone(), &path) {
            Ok(command) => command,
            Err(reason) => {
                command.build();
                let serve = command.find_subcommand_mut(SERVE).expect("a command of ours");
                serve.error(ErrorKind::ValueValidation, format!("{}: {reason}", path.display())).exit()
            }
        };
    }
    let matches = command.clone().get_matches();
    if let Some((SERVE, serve)) = matches.subcommand()
        && serve.get_flag("print_config")
    {
        let serve_command = command.find_subcommand(SERVE).expect("a command of ours");
        print(serve_command, serve);
        std::process::exit(0);
    }
    Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The file that `--config` or `LASTSEEN_CONFIG` names, if the command is `serve`.
fn asked_file() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    // Flags of all commands may come first; none of them has a value.
    if arguments.find(|argument| !argument.to_string_lossy().starts_with('-'))? != SERVE {
        return None;
    }
    let mut asked = std::env::var_os("LASTSEEN_CONFIG");
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            asked = arguments.next();
        } else if let Some(path) = argument.to_str().and_then(|argument| argument.strip_prefix("--config=")) {
            asked = Some(OsString::from(path));
        }
    }
    asked.map(PathBuf::from)
}

/// Makes the values of a file the defaults of the flags of `serve`.
///
/// # Errors
/// Words for people.
fn with_file(command: Command, path: &Path) -> Result<Command, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let table: Table = toml::from_str(&text).map_err(|error| error.to_string())?;
    let serve = command.find_subcommand(SERVE).expect("a command of ours");
    let mut defaults = Vec::new();
    for (key, value) in table {
        let known = || serve.get_arguments().filter_map(key_of);
        let Some(arg) = serve.get_arguments().find(|arg| key_of(arg).as_deref() == Some(&*key)) else {
            let nearest = known().max_by(|a, b| {
                let likeness = |name: &str| strsim::jaro_winkler(name, &key);
                likeness(a).total_cmp(&likeness(b))
            });
            let nearest = nearest.unwrap_or_default();
            return Err(format!("there is no setting {key:?}; the nearest one is {nearest:?}"));
        };
        defaults.push((arg.get_id().clone(), values(&key, value)?));
    }
    Ok(command.mut_subcommand(SERVE, |serve| {
        defaults
            .into_iter()
            .fold(serve, |serve, (id, values)| serve.mut_arg(id, |arg| arg.default_values(values)))
    }))
}

/// The key of a flag. `None`: it does not stand in a file.
fn key_of(arg: &Arg) -> Option<String> {
    let long = arg.get_long()?.replace('-', "_");
    (!NOT_IN_FILE.contains(&long.as_str())).then_some(long)
}

/// A value as it would stand on the command line.
fn values(key: &str, value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Integer(number) => Ok(vec![number.to_string()]),
        Value::Boolean(is_set) => Ok(vec![is_set.to_string()]),
        Value::Array(values) => {
            let each = values.into_iter().map(|value| self::values(key, value));
            Ok(each.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        other => {
            Err(format!("{key}: expected a string, an integer or a list of them, found {}", other.type_str()))
        }
    }
}

/// Prints the settings as a configuration file, each with its source.
fn print(command: &Command, matches: &ArgMatches) {
    for arg in command.get_arguments() {
        let Some(key) = key_of(arg) else { continue };
        let id = arg.get_id().as_str();
        let Some(values) = matches.get_raw(id) else {
            outln!("# {key} is not set");
            continue;
        };
        let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "variable",
            _ => "file or default",
        };
        let value = match &values[..] {
            [one] if !matches!(arg.get_action(), clap::ArgAction::Append) => written(one),
            several => Value::Array(several.iter().map(|value| Value::String(value.clone())).collect()),
        };
        outln!("{key} = {value}  # {source}");
    }
}

/// A value in its shortest form of TOML.
fn written(text: &str) -> Value {
    text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer)
}
