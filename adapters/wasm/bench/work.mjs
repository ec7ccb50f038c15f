// A DPO step to be timed, and its exact result in f64, by the formulas.

/** Of both: as the papers' recipes have it. */
export const BETA = 0.1;

/**
 * N sequences of as many rows each, in pairs: R rows of V logits in ±10.
 * @param {number} rows @param {number} vocab @param {number} sequences
 */
export function makeWork(rows, vocab, sequences) {
    let state = 1;
    const random = () => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return state / 2 ** 32;
    };
    const logits = Float32Array.from({ length: rows * vocab }, () => 20 * random() - 10);
    const targets = Uint32Array.from({ length: rows }, () => Math.floor(random() * vocab));
    const each = rows / sequences;
    const spans = Array.from({ length: sequences }, (_, i) => [i * each, (i + 1) * each]);
    const pairs = Array.from({ length: sequences / 2 }, (_, i) => [2 * i, 2 * i + 1]);
    // Near what such logits give, so that no sigmoid is saturated.
    const near = -each * (Math.log(vocab) + 5);
    const reference = Float64Array.from({ length: sequences }, () => near + 20 * random() - 10);
    return { rows, vocab, logits, targets, spans, pairs, reference, ...exact() };

    /** L = mean of ln(1 + e^-z), z = β(a − b); ∂L/∂x = c (onehot − p). */
    function exact() {
        const logZ = Float64Array.from({ length: rows }, (_, row) => {
            let [top, sum] = [-Infinity, 0];
            for (let i = row * vocab; i < (row + 1) * vocab; i++) top = Math.max(top, logits[i]);
            for (let i = row * vocab; i < (row + 1) * vocab; i++) sum += Math.exp(logits[i] - top);
            return top + Math.log(sum);
        });
        const policy = spans.map(([start, end]) => {
            let sum = 0;
            for (let row = start; row < end; row++) sum += logits[row * vocab + targets[row]] - logZ[row];
            return sum;
        });
        const coefficients = new Float64Array(rows);
        let loss = 0;
        for (const [chosen, rejected] of pairs) {
            const z = BETA * (policy[chosen] - reference[chosen] - policy[rejected] + reference[rejected]);
            loss += Math.log1p(Math.exp(-z)) / pairs.length;
            const d = BETA / (1 + Math.exp(z)) / pairs.length;
            coefficients.fill(-d, ...spans[chosen]);
            coefficients.fill(d, ...spans[rejected]);
        }
        return { logZ, coefficients, loss };
    }
}

/**
 * The worst error of gradients, relative to the exact ones, and that of the loss; NaN counts as infinite.
 * @param {ReturnType<typeof makeWork>} work @param {number} loss @param {Float32Array} grads
 */
export function errors({ rows, vocab, logits, targets, logZ, coefficients, loss: exact }, loss, grads) {
    if (grads.length !== rows * vocab) throw new Error(`${grads.length} gradients`);
    let worst = 0;
    for (let row = 0; row < rows; row++) {
        for (let column = 0; column < vocab; column++) {
            const at = row * vocab + column;
            const p = Math.exp(logits[at] - logZ[row]);
            const due = coefficients[row] * ((column === targets[row] ? 1 : 0) - p);
            const error = Math.abs((grads[at] - due) / due);
            worst = error <= worst ? worst : Number.isNaN(error) ? Infinity : error;
        }
    }
    const ofLoss = Math.abs(loss - exact);
    return { grads: worst, loss: Number.isNaN(ofLoss) ? Infinity : ofLoss };
}
