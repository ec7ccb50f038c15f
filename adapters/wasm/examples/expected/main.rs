//! What the tests of the JavaScript expect, as JSON: inputs, and what this machine finds for them in
//! portable arithmetic, which is that of WebAssembly. Bits, not decimals: u16 and u32 as numbers,
//! f64 as 16 hexadecimal digits.
//!
//! ```sh
//! cargo run --release --example expected >expected.json
//! ```

mod cases;
mod errors;
mod losses;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the module's own file, of which the errors are asked for"
)]
#[path = "../../src/outcome.rs"]
mod outcome;
mod random;

use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all = json!({
        "steps": cases::steps()?,
        "losses": losses::of_pairs()?,
        "answers": losses::of_answers()?,
        "errors": errors::texts(),
        "parameters": errors::parameters(),
        "buffers": errors::buffers(),
    });
    println!("{all}");
    Ok(())
}
