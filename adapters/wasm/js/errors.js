// Errors: the numbers that the module reports, as an exception with the library's text.

/** An error of the library or of an argument. */
export class DpoError extends Error {
    /**
     * @param {string} code the name of the library's error, or of one of this module
     * @param {string} message
     * @param {Record<string, number | string>} [numbers] the fields of the error
     */
    constructor(code, message, numbers = {}) {
        super(message);
        this.name = 'DpoError';
        /** @readonly */
        this.code = code;
        /** @readonly */
        this.numbers = numbers;
        /**
         * What was found of all else, where `code` is `NonFiniteRows` of `score`, or
         * `NonFinitePairs` and `NonFiniteAnswers` of a loss without logits.
         * @type {object | undefined}
         */
        this.found = undefined;
    }
}

/** The buffers that errors name, by their numbers. */
export const BUFFERS = [
    'logits', 'targets', 'token log-probs', 'row norms', 'row details', 'token weights', 'sequence log-probs',
    'reference log-probs', 'sequence gradients', 'pair losses', 'pair weights', 'pair margin offsets',
    'token coefficients', 'order of the spans', 'losses of the pairs', 'order of the pairs', 'terms of the mixture',
    'losses of unpaired answers', 'weights of the answers', 'losses of the answers', 'NLL gradients', 'spans',
];

/** Parameters that errors name: option (or argument), name in the text, domain. @type {Record<number, string[]>} */
export const PARAMETERS = {
    1: ['beta', 'beta', 'must be finite and > 0'],
    2: ['label_smoothing', 'label smoothing', 'must lie in [0, 0.5]'],
    3: ['label_smoothing', 'label smoothing of the robust loss', 'must lie in [0, 0.5)'],
    4: ['label_smoothing', 'label smoothing of EXO', 'must lie between 0 and 1'],
    5: ['target_margin', 'target margin', 'must be finite and >= 0'],
    6: ['target_margin_ratio', 'target margin over beta', 'must be finite and >= 0'],
    7: ['reward_exponent', 'alpha of AlphaPO', 'must be finite'],
    8: ['blend_temperature', 'tau of DiscoPOP', 'must be finite and > 0'],
    9: ['divergence_alpha', 'alpha of the divergence', 'must be finite'],
    10: ['reward_shift', 'delta of BCO', 'must be finite'],
    11: ['slic_margin', 'delta of SLiC', 'must be finite and > 0'],
    12: ['drop_penalty', 'lambda of DPOP', 'must be finite and >= 0'],
    13: ['odds_weight', 'lambda of ORPO', 'must be finite and > 0'],
    14: ['reference_kl', 'K of KTO', 'must be finite and >= 0'],
    15: ['desirable_weight', 'weight of desirable answers', 'must be finite and >= 0'],
    16: ['undesirable_weight', 'weight of undesirable answers', 'must be finite and >= 0'],
    17: ['reward_gap', 'reward gap', 'must be finite'],
    24: ['divergence', 'f-divergence', 'must be reverse KL for this loss'],
    25: ['divisor', 'divisor', 'must be finite and > 0'],
    26: ['scale', 'logit scale', 'must be finite and > 0'],
    27: ['softcap', 'softcap', 'must be finite and > 0'],
    28: ['temperature', 'temperature', 'must be finite and > 0'],
    29: ['transform', 'combined logit factor', 'must lie in [1e-30, 1e30]'],
    32: ['centering', 'centering of the reward model', 'must be finite and >= 0'],
    33: ['advantage', 'advantage of A*PO', 'must be finite'],
};

/** As the library writes a number. @param {number} x */
const text = (x) => {
    if (Number.isNaN(x)) return 'NaN';
    if (!Number.isFinite(x)) return x > 0 ? 'inf' : '-inf';
    return Object.is(x, -0) ? '-0' : String(x);
};

/**
 * @typedef {{ buffer: string, parameter: string[], n: number[], value: number }} Found
 * @typedef {[string, string[], (found: Found) => string]} Kind name, fields of `n`, sentence
 */

/** Errors by number. @type {Record<number, Kind>} */
const KINDS = {
    1: ['Length', ['expected', 'found'], ({ buffer, n }) => `${buffer}: ${n[1]} elements, ${n[0]} needed`],
    2: ['ShapeOverflow', ['rows', 'stride'],
        ({ n }) => `a shape of ${n[0]} by ${n[1]} overflows the address space`],
    3: ['EmptyVocabulary', [], () => 'the vocabulary is empty'],
    4: ['VocabularyTooLarge', ['vocab'], ({ n }) => `a vocabulary of ${n[0]} exceeds the u32 target ids`],
    5: ['StrideBelowVocabulary', ['stride', 'vocab'],
        ({ n }) => `the row stride ${n[0]} is smaller than the vocabulary ${n[1]}`],
    6: ['ShapeMismatch', ['rows', 'vocab', 'foundRows', 'foundVocab'],
        ({ n }) => `the views differ in shape: ${n[0]} rows of ${n[1]} against ${n[2]} rows of ${n[3]}`],
    7: ['TargetOutOfRange', ['row', 'vocab'],
        ({ n, value }) => `row ${n[0]} has target ${value}, outside the vocabulary of ${n[1]}; rows that are not `
            + 'scored have the ignore value, -100 unless another is given'],
    8: ['SpanOutOfRange', ['sequence', 'start', 'end', 'rows'],
        ({ n }) => `span ${n[0]} is ${n[1]}..${n[2]}, which ${n[3]} rows do not hold`],
    9: ['SpansOverlap', ['first', 'second'], ({ n }) => `spans ${n[0]} and ${n[1]} overlap`],
    11: ['NoScoredTokens', ['sequence'], ({ n }) => `sequence ${n[0]} has no scored token`],
    12: ['SequenceOutOfRange', ['pair', 'sequence', 'sequences'],
        ({ n }) => `pair ${n[0]} names sequence ${n[1]} of ${n[2]}`],
    13: ['PairOfOneSequence', ['pair', 'sequence'],
        ({ n }) => `pair ${n[0]} names sequence ${n[1]} as both chosen and rejected`],
    14: ['TokenCountMismatch', ['sequence', 'policy', 'reference'],
        ({ n }) => `sequence ${n[0]} has ${n[1]} scored tokens under the policy and ${n[2]} under the reference`],
    15: ['Parameter', [], ({ parameter, value }) => `${parameter[1]} is ${text(value)} but ${parameter[2]}`],
    16: ['ParameterUnused', [], ({ parameter }) => `${parameter[1]} is given, but the loss has none`],
    17: ['ParameterMissing', [], ({ parameter }) => `${parameter[1]} must be given for this loss`],
    18: ['ReferenceMissing', [], () => 'the loss needs reference log-probs'],
    19: ['InputUnused', [], ({ buffer }) => `${buffer} are given, but the loss would not read them`],
    20: ['UnknownLoss', [], () => 'no loss has this name'],
    21: ['AnswerOutOfRange', ['answer', 'sequence', 'sequences'],
        ({ n }) => `answer ${n[0]} names sequence ${n[1]} of ${n[2]}`],
    23: ['InvalidValue', ['index'],
        ({ buffer, n, value }) => `${buffer}[${n[0]}] is ${text(value)}, outside its domain`],
    24: ['NonFiniteRows', ['first', 'count'],
        ({ n }) => `row ${n[0]} is NaN, +inf or all −inf; rows of that kind: ${n[1]}`],
    25: ['NonFinitePairs', ['first', 'count'],
        ({ n }) => `pair ${n[0]} has no finite loss; pairs of that kind: ${n[1]}`],
    26: ['NonFiniteAnswers', ['first', 'count'],
        ({ n }) => `answer ${n[0]} has no finite loss; of that kind: ${n[1]}`],
    31: ['UnknownLabel', [], ({ value }) => `label ${value} is neither 1 (desirable) nor 0 (undesirable)`],
    1001: ['NotOfPairs', [], () => 'the loss is of no pairs: unpairedStep or unpairedLoss takes it'],
    1002: ['NotOfAnswers', [], () => 'the loss is not of answers without a partner'],
    1003: ['TypeNotBuilt', [], () => 'the module was built without this element type'],
    1004: ['Unexpected', [], () => 'an error of a stage that this module does not have'],
};
const OF_BUFFERS = [1, 19, 23];
const OF_PARAMETERS = [15, 16, 17];
const OF_VALUES = [7, 15, 23, 31];

/**
 * The exception of what the module reports.
 * @param {number} number @param {number} subject @param {number[]} n @param {number} value
 */
export function errorOf(number, subject, n, value) {
    const [code, fields, sentence] = KINDS[number] ?? KINDS[1004];
    const buffer = BUFFERS[subject] ?? `buffer ${subject}`;
    const parameter = PARAMETERS[subject] ?? [`parameter ${subject}`, `parameter ${subject}`, 'is out of its domain'];
    /** @type {Record<string, number | string>} */
    const numbers = {};
    if (OF_BUFFERS.includes(number)) numbers.buffer = buffer;
    if (OF_PARAMETERS.includes(number)) numbers.parameter = parameter[0];
    fields.forEach((field, i) => { numbers[field] = n[i]; });
    if (OF_VALUES.includes(number)) numbers.value = value;
    return new DpoError(code, sentence({ buffer, parameter, n, value }), numbers);
}
