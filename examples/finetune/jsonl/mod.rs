//! Preference pairs from JSON Lines: one object a line, in any of the forms that trainers read.
//!
//! ```text
//! strings      {"prompt": "…", "chosen": "…", "rejected": "…"}
//!              {"chosen": "… a", "rejected": "… b"}                the prompt is what both begin with
//! messages M   {"prompt": [M, …], "chosen": [M, …], "rejected": [M, …]}
//!              {"chosen": [M, …], "rejected": [M, …]}               likewise
//!              {"prompt": "…", "chosen": [M, …], "rejected": [M, …]}   likewise; the prompt is among them
//!
//! M = {"role": R, "content": "…"} or {"role": R, "content": [{"type": "text", "text": "…"}, …]}
//! R = "system", "user" or "assistant"
//! ```
//!
//! Lines of one file may have different forms. Messages become text by the template of hh-rlhf:
//! `\n\nSystem: …`, `\n\nHuman: …`, `\n\nAssistant: …` one after another. The prompt ends after the
//! `\n\nAssistant:` that the answer follows, so the answer's text begins with a space.
//!
//! [`parse`] is a pure function of the bytes. Whatever they hold, it returns every pair, or one
//! error that names the file, the line, what was found and what to do; it never panics. Accepted
//! beside the plain form: a byte-order mark at the start, `\r\n`, blank lines at the end of the
//! file, and further fields, which may hold any JSON. Of a field that stands twice the last counts,
//! as in Python.
//!
//! No line takes more of std than `alloc` has, so that a crate without std reads pairs too:
//! `extern crate alloc as std`.

mod fields;
mod implicit;
mod lines;
mod messages;
pub mod problem;

pub use lines::{Pair, parse};
