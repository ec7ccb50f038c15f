//! Values of a JSON file that know their names, so that a complaint can say which one it is about.

use serde_json::Value;

use super::json;

/// A value and the path that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Field<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    pub(crate) fn complain<T>(&self, what: impl std::fmt::Display) -> Result<T, String> {
        let path = if self.path.is_empty() { "the manifest" } else { &self.path };
        Err(format!("{path}: {what}"))
    }

    /// Fails on members with other names: a misspelt option would be passed over in silence.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), String> {
        let Some(object) = self.value.as_object() else { return self.needs("an object") };
        match object.keys().find(|key| !names.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                self.complain(format!("unknown field {key}; known are {}", names.join(", ")))
            }
        }
    }

    /// Complains of a value that is not what it should be: a number by itself, others by their
    /// kind.
    fn needs<T>(&self, wanted: &str) -> Result<T, String> {
        let text = self.value.to_string();
        let found = if self.value.is_number() { &text } else { json::kind(&text) };
        self.complain(format!("{found} where {wanted} is needed"))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let dot = if self.path.is_empty() { "" } else { "." };
        Some(Field { value, path: format!("{}{dot}{name}", self.path) })
    }

    pub(crate) fn get(&self, name: &str) -> Result<Self, String> {
        match self.optional(name) {
            Some(field) => Ok(field),
            None => self.complain(format!("the field {name} is missing")),
        }
    }

    /// The names of an object's members.
    #[allow(dead_code, reason = "one of two programs asks")]
    pub(crate) fn names(&self) -> Result<Vec<String>, String> {
        let Some(object) = self.value.as_object() else { return self.needs("an object") };
        Ok(object.keys().cloned().collect())
    }

    pub(crate) fn list(&self) -> Result<Vec<Self>, String> {
        let Some(list) = self.value.as_array() else { return self.needs("a list") };
        let item = |(i, value)| Field { value, path: format!("{}[{i}]", self.path) };
        Ok(list.iter().enumerate().map(item).collect())
    }

    /// A list of a length that other fields imply.
    pub(crate) fn list_of(&self, length: usize) -> Result<Vec<Self>, String> {
        let list = self.list()?;
        if list.len() == length {
            Ok(list)
        } else {
            self.complain(format!("{} entries where {length} are needed", list.len()))
        }
    }

    /// A number; infinities as strings.
    pub(crate) fn number(&self) -> Result<f64, String> {
        match self.number_or_nan()? {
            x if x.is_nan() => self.complain("NaN, which no figure can be held to: leave it out"),
            x => Ok(x),
        }
    }

    /// A number; infinities and NaN as strings, NaN as null too.
    fn number_or_nan(&self) -> Result<f64, String> {
        let named = |name: &str| {
            // Digits are written without quotes.
            let name = (!name.contains(|c: char| c.is_ascii_digit())).then_some(name)?;
            name.parse().ok()
        };
        match self.value {
            Value::Null => Ok(f64::NAN),
            Value::String(name) => match named(name) {
                Some(x) => Ok(x),
                None => self.needs("a number, or \"inf\" or \"-inf\","),
            },
            value => value.as_f64().map_or_else(|| self.needs("a number"), Ok),
        }
    }

    /// A number that is no less than 0.
    pub(crate) fn bound(&self) -> Result<f64, String> {
        match self.number()? {
            x if x >= 0.0 => Ok(x),
            _ => self.needs("a bound of at least 0"),
        }
    }

    pub(crate) fn numbers(&self, length: usize) -> Result<Vec<f64>, String> {
        self.list_of(length)?.iter().map(Self::number).collect()
    }

    /// Numbers, with NaN where there is none.
    pub(crate) fn numbers_or_null(&self, length: usize) -> Result<Vec<f64>, String> {
        self.list_of(length)?.iter().map(Self::number_or_nan).collect()
    }

    #[allow(clippy::cast_possible_truncation, reason = "parameters of the transform are f32")]
    pub(crate) fn single(&self) -> Result<f32, String> {
        self.number().map(|x| x as f32)
    }

    pub(crate) fn index(&self) -> Result<usize, String> {
        let index = self.value.as_u64().and_then(|x| usize::try_from(x).ok());
        index.map_or_else(|| self.needs("a count"), Ok)
    }

    /// A token id; negative ones, which only mark, as their 32 bits.
    pub(crate) fn token(&self) -> Result<u32, String> {
        let id = self.value.as_i64().and_then(|id| {
            let negative = i32::try_from(id).map(i32::cast_unsigned);
            u32::try_from(id).or(negative).ok()
        });
        id.map_or_else(|| self.needs("a token id, a whole number of 32 bits,"), Ok)
    }

    pub(crate) fn text(&self) -> Result<&'a str, String> {
        self.value.as_str().map_or_else(|| self.needs("a string"), Ok)
    }
}
