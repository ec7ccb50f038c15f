//! Random dumps, and the oracle: log-softmax in f64, written out.

/// By splitmix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// In [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    /// Mean 0, variance 1.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Logits, values of f32, and the tokens that rows score.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) vocab: usize,
    pub(crate) logits: Vec<Vec<f64>>,
    pub(crate) tokens: Vec<i64>,
}

impl Case {
    /// Rows such as a model has: doubtful and confident ones, with a shift of each row's own; most
    /// tokens drawn from them.
    pub(crate) fn new(random: &mut Random) -> Self {
        let (rows, vocab) = (48 + random.below(73), 23 + random.below(90));
        let row = |random: &mut Random| {
            let (spread, shift) = (random.between(1.0, 5.0), random.between(-6.0, 10.0));
            (0..vocab).map(|_| single(spread * random.normal() + shift)).collect::<Vec<f64>>()
        };
        let logits: Vec<_> = (0..rows).map(|_| row(random)).collect();
        let token = |row: &Vec<f64>| i64::try_from(draw(row, random)).unwrap();
        let tokens = logits.iter().map(token).collect();
        Self { vocab, logits, tokens }
    }

    /// Rows of a fine-tuned model: most of them sure of a column, by 8 to 25.
    pub(crate) fn confident(random: &mut Random) -> Self {
        let mut case = Self::new(random);
        for (row, token) in case.logits.iter_mut().zip(&mut case.tokens) {
            if random.uniform() < 0.6 {
                let most = row.iter().copied().fold(f64::MIN, f64::max);
                let column = random.below(row.len());
                row[column] = single(most + random.between(8.0, 25.0));
            }
            *token = i64::try_from(draw(row, random)).unwrap();
        }
        case
    }

    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        let row = |row: &Vec<f64>| row.iter().map(|&x| single(f(x))).collect();
        Self { logits: self.logits.iter().map(row).collect(), ..self.clone() }
    }

    /// As an engine that rounds on its way finds them.
    pub(crate) fn noisy(&self, size: f64, random: &mut Random) -> Self {
        let mut noisy = self.clone();
        for x in noisy.logits.iter_mut().flatten() {
            *x = single(*x + size * random.normal());
        }
        noisy
    }

    pub(crate) fn log_probs(&self) -> Vec<f64> {
        let rows = self.logits.iter().zip(&self.tokens);
        rows.map(|(row, &token)| single(log_prob(row, token as usize))).collect()
    }

    /// Of token t by row t + `by`; of none where there is no such row.
    pub(crate) fn shifted(&self, by: isize) -> Vec<f64> {
        let of = |(t, &token): (usize, &i64)| {
            let row = t.checked_add_signed(by).and_then(|row| self.logits.get(row));
            row.map_or(single(-3.3), |row| single(log_prob(row, token as usize)))
        };
        self.tokens.iter().enumerate().map(of).collect()
    }
}

fn draw(row: &[f64], random: &mut Random) -> usize {
    if random.uniform() < 0.2 {
        return random.below(row.len());
    }
    let mut left = random.uniform();
    for index in 0..row.len() {
        left -= log_prob(row, index).exp();
        if left < 0.0 {
            return index;
        }
    }
    row.len() - 1
}

/// x\[target\] − ln Σ e^x.
pub(crate) fn log_prob(row: &[f64], target: usize) -> f64 {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mass: f64 = row.iter().map(|x| (x - most).exp()).sum();
    row[target] - most - mass.ln()
}

/// Rounded to f32.
pub(crate) fn single(x: f64) -> f64 {
    f64::from(x as f32)
}

/// Rounded to the nearest number with so many bits, ties to even: f16 and bf16 without their ends.
pub(crate) fn rounded(x: f64, bits: i32) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let unit = 2_f64.powi(x.abs().log2().floor() as i32 - bits + 1);
    (x / unit).round_ties_even() * unit
}

pub(crate) fn bf16(x: f64) -> f64 {
    rounded(x, 8)
}

pub(crate) fn f16(x: f64) -> f64 {
    // Below 2⁻¹⁴ the distance stays.
    if x.abs() < 2_f64.powi(-14) {
        (x * 2_f64.powi(24)).round_ties_even() * 2_f64.powi(-24)
    } else {
        rounded(x, 11)
    }
}
