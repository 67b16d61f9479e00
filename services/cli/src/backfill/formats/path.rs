//! Names of columns, which in JSON are paths: `fields.date_joined`, `addresses[].verified`, `Attributes[Name=sub].Value`.

use std::fmt;

use serde_json::{Map, Value};

/// The name of a column, and the path that it is where there is no column of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    name: String,
    /// Empty if the name can only be that of a column.
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The field of an object.
    Field(String),
    /// Every element of an array.
    Each,
    /// The elements of an array in which a field has a text.
    Having { field: String, text: String },
}

impl Path {
    pub(crate) fn new(name: &str) -> Self {
        let steps = steps(name).filter(|steps| steps.len() > 1).unwrap_or_default();
        Self { name: name.to_owned(), steps }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// True if the path may begin with a field of an object.
    pub(crate) fn begins_with(&self, field: &str) -> bool {
        self.name == field || matches!(self.steps.first(), Some(Step::Field(first)) if first == field)
    }

    /// Gives `found` every value that the path leads to in an object. Returns true if it led to any, be it null.
    pub(crate) fn find(&self, object: &Map<String, Value>, mut found: impl FnMut(&Value)) -> bool {
        if let Some(value) = object.get(&self.name) {
            found(value);
            return true;
        }
        match self.steps.split_first() {
            Some((Step::Field(field), rest)) => {
                object.get(field).is_some_and(|value| follow(rest, value, &mut found))
            }
            _ => false,
        }
    }

    /// Returns the columns whose JSON may hold the value, each with the rest of the path: the longest name first.
    pub(crate) fn within_columns(&self) -> impl Iterator<Item = (&str, Self)> {
        let dots = self.name.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| at);
        dots.collect::<Vec<_>>().into_iter().rev().map(|at| {
            let (column, rest) = self.name.split_at(at);
            let rest = rest.strip_prefix('.').unwrap_or(rest);
            let steps = steps(rest).unwrap_or_default();
            (column, Self { name: rest.to_owned(), steps })
        })
    }

    /// Like [`Path::find`], in any JSON.
    pub(crate) fn find_in(&self, value: &Value, mut found: impl FnMut(&Value)) -> bool {
        follow(&self.steps, value, &mut found)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Returns the steps of a path. `None` if the name is none, such as `Address [Required]`.
fn steps(name: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for part in name.split('.') {
        let (field, mut selectors) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !field.is_empty() {
            steps.push(Step::Field(field.to_owned()));
        } else if !steps.is_empty() || selectors.is_empty() {
            return None;
        }
        while let Some(rest) = selectors.strip_prefix('[') {
            let (selector, rest) = rest.split_once(']')?;
            steps.push(match selector.split_once('=') {
                None if selector.is_empty() => Step::Each,
                Some((field, text)) => Step::Having { field: field.to_owned(), text: text.to_owned() },
                None => return None,
            });
            selectors = rest;
        }
        if !selectors.is_empty() {
            return None;
        }
    }
    Some(steps)
}

fn follow(steps: &[Step], value: &Value, found: &mut impl FnMut(&Value)) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        found(value);
        return true;
    };
    match (step, value) {
        (Step::Field(field), Value::Object(object)) => {
            object.get(field).is_some_and(|value| follow(rest, value, found))
        }
        (Step::Each, Value::Array(elements)) => {
            for element in elements {
                follow(rest, element, found);
            }
            true
        }
        (Step::Having { field, text }, Value::Array(elements)) => {
            for element in elements.iter().filter(|element| element[field] == **text) {
                follow(rest, element, found);
            }
            true
        }
        // The object that would hold it is null.
        (_, Value::Null) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn find(name: &str) -> (bool, Vec<Value>) {
        let row = json!({
            "a": 1, "a.b": 2, "c": {"d": {"e": 3}, "d.e": 4}, "n": null, "list": [{"k": "x", "v": 5}, {"k": "y", "v": 6}, {}],
            "Address [Required]": 7, "none": [],
        });
        let mut found = Vec::new();
        let there = Path::new(name).find(row.as_object().unwrap(), |value| found.push(value.clone()));
        (there, found)
    }

    #[test]
    fn a_path_leads_to_values() {
        for (name, found) in [
            ("a", vec![json!(1)]),
            ("a.b", vec![json!(2)]),
            ("c.d.e", vec![json!(3)]),
            ("n", vec![json!(null)]),
            ("n.deeper", vec![]),
            ("list[].v", vec![json!(5), json!(6)]),
            ("list[k=y].v", vec![json!(6)]),
            ("list[k=z].v", vec![]),
            ("none[].v", vec![]),
            ("Address [Required]", vec![json!(7)]),
        ] {
            assert_eq!(find(name), (true, found), "{name}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for name in
            ["b", "a.c", "c.d.f", "list.v", "c[].d", "", ".", "a.", "[]", "list[k", "list[0].v", "list]"]
        {
            assert_eq!(find(name), (false, vec![]), "{name}");
        }
    }

    #[test]
    fn a_column_may_hold_json() {
        let path = Path::new("payload.traits.action");
        let columns: Vec<_> =
            path.within_columns().map(|(column, rest)| (column.to_owned(), rest.name.clone())).collect();
        let expected = [("payload.traits", "action"), ("payload", "traits.action")];
        assert_eq!(columns, expected.map(|(column, rest)| (column.to_owned(), rest.to_owned())));
        let (_, rest) = path.within_columns().last().unwrap();
        let mut found = Vec::new();
        assert!(rest.find_in(&json!({"traits": {"action": "login"}}), |value| found.push(value.clone())));
        assert_eq!(found, [json!("login")]);
    }
}
