//! Values of a line as pieces of the text that they were read from.
//!
//! Only values that are used are looked into. All others are checked for being JSON and nothing
//! else: their numbers need not fit any type, and nesting costs a byte a level, no recursion.

use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::problem::Problem;
use super::problem::json::{Cause, explain, kind};

/// A value and the path that leads to it.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    pub path: String,
    raw: &'a str,
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    path: String,
    members: BTreeMap<String, &'a RawValue>,
}

impl<'a> Object<'a> {
    /// The object that makes up a line.
    pub fn of_line(line: &'a str) -> Result<Self, Problem> {
        let mut values = Deserializer::from_str(line).into_iter::<&RawValue>();
        let raw = match values.next() {
            Some(Ok(value)) => value.get(),
            Some(Err(error)) => {
                let (_, column, cause) = explain(line, &error);
                return Err(Problem::NotJson { column, cause });
            }
            None => return Err(Problem::NotJson { column: 1, cause: Cause::Unfinished }),
        };
        if kind(raw) != "an object" {
            return Err(Problem::NotAnObject { found: kind(raw) });
        }
        let rest = line[values.byte_offset()..].trim_ascii_start();
        if !rest.is_empty() {
            return Err(Problem::SecondValue { column: line.len() - rest.len() + 1 });
        }
        Field { path: String::new(), raw }.object("an object")
    }

    pub fn optional(&self, name: &str) -> Option<Field<'a>> {
        let dot = if self.path.is_empty() { "" } else { "." };
        let raw = self.members.get(name)?.get();
        Some(Field { path: format!("{}{dot}{name}", self.path), raw })
    }

    pub fn get(&self, name: &str) -> Result<Field<'a>, Problem> {
        let dot = if self.path.is_empty() { "" } else { "." };
        let missing = || Problem::Missing { path: format!("{}{dot}{name}", self.path) };
        self.optional(name).ok_or_else(missing)
    }
}

impl<'a> Field<'a> {
    pub fn kind(&self) -> &'static str {
        kind(self.raw)
    }

    fn expect(&self, kind: &str, wanted: &'static str) -> Result<(), Problem> {
        match self.kind() {
            found if found == kind => Ok(()),
            found => Err(Problem::Unexpected { path: self.path.clone(), found, wanted }),
        }
    }

    fn not_text(&self, error: &serde_json::Error) -> Problem {
        let (_, _, cause) = explain(self.raw, error);
        let why = match cause {
            Cause::Other(why) => why,
            cause => cause.to_string(),
        };
        Problem::NotText { path: self.path.clone(), why }
    }

    pub fn text(&self, wanted: &'static str) -> Result<String, Problem> {
        self.expect("a string", wanted)?;
        serde_json::from_str(self.raw).map_err(|error| self.not_text(&error))
    }

    pub fn object(&self, wanted: &'static str) -> Result<Object<'a>, Problem> {
        self.expect("an object", wanted)?;
        // It was read once; what is left to fail is a member's name that is not text.
        let members = serde_json::from_str(self.raw).map_err(|error| self.not_text(&error))?;
        Ok(Object { path: self.path.clone(), members })
    }

    /// The items of a list that has some.
    pub fn list(&self, of: &'static str, wanted: &'static str) -> Result<Vec<Self>, Problem> {
        self.expect("a list", wanted)?;
        let items: Vec<&RawValue> =
            serde_json::from_str(self.raw).map_err(|error| self.not_text(&error))?;
        if items.is_empty() {
            return Err(Problem::EmptyList { path: self.path.clone(), of });
        }
        let item = |(i, raw): (usize, &'a RawValue)| Self {
            path: format!("{}[{i}]", self.path),
            raw: raw.get(),
        };
        Ok(items.into_iter().enumerate().map(item).collect())
    }
}
