//! The best times of a size, and their ratios.

/// In the order of the columns: by the built-in product, `gemm` and `matrixmultiply`.
const NAMES: [&str; 3] = ["built-in", "gemm", "matrixmultiply"];

/// The built-in product in f32 must have this much of the speed of `gemm` at the first size.
const PRODUCT_BAR: f64 = 0.8;

/// A frozen step in f32 may take so many bare products of the fastest, of which it has two.
const FROZEN_BAR: f64 = 2.2;

/// And a trained one, of which it has four.
const TRAINED_BAR: f64 = 4.4;

/// Seconds.
pub struct Times {
    pub forward: [f64; 1],
    /// Logits, and back.
    pub products: [[f64; 2]; 3],
    pub frozen: [[f64; 1]; 3],
    pub trained: [[f64; 1]; 3],
}

impl Default for Times {
    fn default() -> Self {
        let products = [[f64::INFINITY; 2]; 3];
        let steps = [[f64::INFINITY]; 3];
        Self { forward: [f64::INFINITY], products, frozen: steps, trained: steps }
    }
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

impl Times {
    /// `has_bar`: whether the bars are of this size and type.
    pub fn print(&self, has_bar: bool) {
        let both = self.products.map(|[logits, back]| logits + back);
        println!("  {:34} {:>9} {:>9} {:>14}", "", NAMES[0], NAMES[1], NAMES[2]);
        let line = |name: &str, times: [f64; 3]| {
            let [a, b, c] = times.map(|time| time * 1e3);
            println!("  {name:34} {a:>9.3} {b:>9.3} {c:>14.3}");
        };
        line("product, logits", self.products.map(|[logits, _]| logits));
        line("product, back", self.products.map(|[_, back]| back));
        line("both", both);
        line("frozen, forward and backward", self.frozen.map(|[time]| time));
        line("trained, forward and backward", self.trained.map(|[time]| time));
        println!("  {:34} {:>9.3}", "forward alone", self.forward[0] * 1e3);
        let speed = both[1] / both[0];
        print!("  speed of the built-in product: {speed:.3} of gemm's");
        println!(", {:.3} of matrixmultiply's", both[2] / both[0]);
        let fastest = both.into_iter().fold(f64::INFINITY, f64::min);
        let in_products = |[time]: [f64; 1]| 2.0 * time / fastest;
        let [frozen, trained] = [self.frozen, self.trained].map(|times| times.map(in_products));
        for (name, of) in [("frozen", frozen), ("trained", trained)] {
            print!("  {name}, in products of the fastest: {:.3}", of[0]);
            println!(" (by gemm {:.3}, matrixmultiply {:.3})", of[1], of[2]);
        }
        if has_bar {
            println!("  product >= {PRODUCT_BAR} of gemm's: {}", verdict(speed >= PRODUCT_BAR));
            println!("  frozen <= {FROZEN_BAR} products: {}", verdict(frozen[0] <= FROZEN_BAR));
            println!("  trained <= {TRAINED_BAR} products: {}", verdict(trained[0] <= TRAINED_BAR));
        }
    }
}
