//! Rotary positions (Su et al. 2021), with the halves of a head as pairs.

/// Cosines and sines of the rotation at each position.
#[derive(Debug)]
pub(crate) struct Rotary {
    half: usize,
    /// Positions × half, (cos, sin).
    turns: Vec<(f32, f32)>,
}

impl Rotary {
    /// In f32 as the model was trained: the angle of position t and pair i is f32(t · f32(base^(−2i/d))).
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as said")]
    pub(crate) fn new(positions: usize, size: usize, base: f32) -> Self {
        let half = size / 2;
        let powers: Vec<f32> =
            (0..half).map(|i| f64::from(base).powf(-2.0 * i as f64 / size as f64) as f32).collect();
        let turn = |t: usize, power: &f32| {
            let angle = t as f32 * power;
            (angle.cos(), angle.sin())
        };
        let turns = (0..positions).flat_map(|t| powers.iter().map(move |power| turn(t, power)));
        Self { half, turns: turns.collect() }
    }

    /// Turns a head's numbers at a position, or back.
    pub(crate) fn turn(&self, position: usize, head: &mut [f32], way: f32) {
        let turns = self.turns.get(position * self.half..).unwrap_or_default();
        let (low, high) = head.split_at_mut(self.half.min(head.len()));
        for ((low, high), (cos, sin)) in low.iter_mut().zip(high).zip(turns) {
            let (a, b, sin) = (*low, *high, sin * way);
            *low = a * cos - b * sin;
            *high = b * cos + a * sin;
        }
    }
}
