//! The norm u = x / √(mean x² + ε) of each position; the matrix after it carries the gain.

#[derive(Debug)]
pub struct Norm {
    pub out: Vec<f32>,
    pub inverse: Vec<f32>,
}

impl Norm {
    pub fn forward(x: &[f32], width: usize) -> Self {
        let mean_square =
            |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>() / width as f32;
        let inverse: Vec<f32> =
            x.chunks_exact(width).map(|row| (mean_square(row) + 1e-5).sqrt().recip()).collect();
        let scaled = |(row, inverse): (&[f32], &f32)| -> Vec<f32> {
            row.iter().map(|value| value * inverse).collect()
        };
        Self { out: x.chunks_exact(width).zip(&inverse).flat_map(scaled).collect(), inverse }
    }

    pub fn add_backward(&self, du: &[f32], width: usize, dx: &mut [f32]) {
        add_norm_backward((&self.out, &self.inverse), du.chunks_exact(width), width, dx);
    }
}

/// Adds dx = (du − u mean(du · u)) / √(mean x² + ε) of the positions of a norm's u and 1 / √.
pub fn add_norm_backward<'d>(
    (u, inverse): (&[f32], &[f32]),
    du: impl Iterator<Item = &'d [f32]>,
    width: usize,
    dx: &mut [f32],
) {
    let norm = u.chunks_exact(width).zip(inverse);
    for (dx, ((u, inverse), du)) in dx.chunks_exact_mut(width).zip(norm.zip(du)) {
        let mean = du.iter().zip(u).map(|(du, u)| du * u).sum::<f32>() / width as f32;
        for ((dx, du), u) in dx.iter_mut().zip(du).zip(u) {
            *dx += (du - u * mean) * inverse;
        }
    }
}
