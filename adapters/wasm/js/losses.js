// Losses: a name and options become what the module reads.
import { number, refuse } from './arrays.js';

/** Options of losses, by their numbers in C. */
export const OPTIONS = {
    beta: 1,
    label_smoothing: 2,
    target_margin: 5,
    target_margin_ratio: 6,
    reward_exponent: 7,
    blend_temperature: 8,
    divergence_alpha: 9,
    reward_shift: 10,
    slic_margin: 11,
    drop_penalty: 12,
    odds_weight: 13,
    reference_kl: 14,
    desirable_weight: 15,
    undesirable_weight: 16,
    reward_gap: 17,
    divergence: 24,
    centering: 32,
    advantage: 33,
};

/** The f-divergences, likewise. */
export const DIVERGENCES = { reverse_kl: 0, forward_kl: 1, jensen_shannon: 2, alpha_paper: 3, alpha_trl: 4 };

const CHOICE_BYTES = 16;

/**
 * The bytes of a loss: its name, and its options as the struct `Choice` of src/call.rs.
 * @param {any} loss
 */
export function lossBytes(loss) {
    const { name, ...options } = typeof loss === 'string' ? { name: loss } : loss ?? refuse('loss is missing');
    if (typeof name !== 'string') refuse(`loss.name is ${String(name)}: not a string`);
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    const view = new DataView(new ArrayBuffer(CHOICE_BYTES * given.length));
    given.forEach(([option, value], i) => {
        if (!Object.hasOwn(OPTIONS, option)) {
            refuse(`loss has no option ${option}: ${Object.keys(OPTIONS).join(', ')}`);
        }
        view.setFloat64(CHOICE_BYTES * i, option === 'divergence' ? divergence(value) : number(value, option), true);
        view.setUint32(CHOICE_BYTES * i + 8, OPTIONS[/** @type {keyof OPTIONS} */ (option)], true);
    });
    return { name: new TextEncoder().encode(name), options: view, count: given.length };
}

/** @param {unknown} value */
function divergence(value) {
    const known = /** @type {Record<string, number>} */ (DIVERGENCES);
    if (typeof value !== 'string' || !Object.hasOwn(known, value)) {
        refuse(`divergence is ${String(value)}: none of ${Object.keys(known).join(', ')}`);
    }
    return known[value];
}
