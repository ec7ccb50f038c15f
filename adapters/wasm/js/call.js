// One call: the struct `Call` of src/call.rs, filled; the struct `Outcome` of src/outcome.rs, read.
import { errorOf } from './errors.js';
import { Frame } from './heap.js';

/** Fields of `Call` after the divisor, 4 bytes each: pointers and integers, and three of f32. */
export const FIELDS = [
    'kind', 'logits', 'logits_len', 'rows', 'vocab', 'stride', 'scale', 'softcap', 'has_softcap', 'temperature',
    'unscored', 'targets', 'ignore', 'spans', 'sequences', 'order', 'log_probs', 'norms', 'coefficients', 'policy', 'd_log_probs',
    'token_weights', 'pairs', 'answers', 'count', 'weights', 'offsets', 'reference_sums', 'reference_sequences',
    'pair_losses', 'answer_losses', 'loss_order', 'name', 'name_len', 'options', 'option_count',
];
const F32 = ['scale', 'softcap', 'temperature'];
const CALL_BYTES = 152;
const OUTCOME_BYTES = 192;

/** Where things are in `Outcome`. */
const AT = { code: 0, subject: 4, numbers: 8, value: 24, tokens: 32, pairs: 48, answers: 136 };

const PAIR_SUMS = ['pairs', 'correct', 'ties', 'displaced', 'saturated', 'saturatedWrong', 'leftOut'];
const PAIR_REALS = ['lossSum', 'rewardChosenSum', 'rewardRejectedSum', 'marginSum'];
const ANSWER_SUMS = ['desirable', 'undesirable', 'leftOut'];
const ANSWER_REALS = ['desirableLossSum', 'undesirableLossSum', 'desirableRewardSum', 'undesirableRewardSum'];

/** Sizes of elements that JavaScript has no array of. */
export const NORM_BYTES = 16;
export const SEQUENCE_BYTES = 16;

export class Call {
    /** @param {Frame} frame @param {Record<string, any>} wasm */
    constructor(frame, wasm) {
        this.frame = frame.clear();
        this.wasm = wasm;
        this.divisor = 1;
        /** @type {Record<string, number>} */
        this.numbers = { scale: 1, temperature: 1, ignore: -100 >>> 0 };
        /** Offsets in the frame of what is a pointer. @type {Record<string, number>} */
        this.places = {};
        this.call = frame.room(CALL_BYTES);
        this.outcome = frame.room(OUTCOME_BYTES);
    }

    /** @param {Record<string, number>} numbers */
    set(numbers) {
        Object.assign(this.numbers, numbers);
    }

    /** Memory that the call writes. @param {string} field @param {number} bytes */
    room(field, bytes) {
        this.places[field] = this.frame.room(bytes);
    }

    /** Memory that the call reads. @param {string} field @param {ArrayBufferView} source */
    copy(field, source) {
        this.places[field] = this.frame.copy(source);
    }

    /**
     * Runs an export. What it reports is in the error.
     * @param {string} name
     */
    run(name) {
        const { frame } = this;
        frame.commit();
        const view = new DataView(frame.wasm.memory.buffer, frame.at);
        view.setFloat64(this.call, this.divisor, true);
        FIELDS.forEach((field, i) => {
            const at = this.call + 8 + 4 * i;
            const place = this.places[field];
            const number = this.numbers[field] ?? 0;
            if (place !== undefined) view.setUint32(at, frame.at + place, true);
            else if (F32.includes(field)) view.setFloat32(at, number, true);
            else view.setUint32(at, number, true);
        });
        this.wasm[name](frame.at + this.call, frame.at + this.outcome);
        return this;
    }

    /** The outcome's memory. */
    view() {
        return new DataView(this.frame.wasm.memory.buffer, this.frame.at + this.outcome, OUTCOME_BYTES);
    }

    /** The error that was found, if one was. */
    error() {
        const view = this.view();
        const number = view.getUint32(AT.code, true);
        if (number === 0) return null;
        const n = [0, 1, 2, 3].map((i) => view.getUint32(AT.numbers + 4 * i, true));
        return errorOf(number, view.getUint32(AT.subject, true), n, view.getFloat64(AT.value, true));
    }

    /** @param {number} at @param {string[]} integers @param {string[]} reals */
    #record(at, integers, reals) {
        const view = this.view();
        /** @type {Record<string, number>} */
        const found = {};
        integers.forEach((name, i) => { found[name] = Number(view.getBigUint64(at + 8 * i, true)); });
        reals.forEach((name, i) => { found[name] = view.getFloat64(at + 8 * (integers.length + i), true); });
        return found;
    }

    /** @returns {any} */
    tokens() {
        return this.#record(AT.tokens, ['tokens', 'maskedTokens'], []);
    }

    /** @returns {any} */
    pairSummary() {
        return this.#record(AT.pairs, PAIR_SUMS, PAIR_REALS);
    }

    /** @returns {any} */
    answerSummary() {
        return this.#record(AT.answers, ANSWER_SUMS, ANSWER_REALS);
    }

    /**
     * A copy of what a call has written.
     * @template T
     * @param {{ new (buffer: ArrayBuffer): T, BYTES_PER_ELEMENT: number }} type
     * @param {string} field @param {number} length
     * @returns {T}
     */
    read(type, field, length) {
        return this.frame.read(type, this.places[field], length);
    }

    /** The log-probs of sequences: sums and counts. @param {number} sequences */
    sequences(sequences) {
        const at = this.frame.at + this.places.policy;
        const view = new DataView(this.frame.wasm.memory.buffer, at, sequences * SEQUENCE_BYTES);
        return {
            sums: Float64Array.from({ length: sequences }, (_, i) => view.getFloat64(SEQUENCE_BYTES * i, true)),
            counts: Uint32Array.from({ length: sequences }, (_, i) => view.getUint32(SEQUENCE_BYTES * i + 8, true)),
        };
    }

    /**
     * The columns of an array of structs of f64.
     * @param {string} field @param {number} length @param {readonly string[]} names
     * @returns {any}
     */
    columns(field, length, names) {
        const all = this.read(Float64Array, field, length * names.length);
        return Object.fromEntries(names.map((name, column) => [
            name, Float64Array.from({ length }, (_, i) => all[i * names.length + column]),
        ]));
    }
}

/** Sums and counts as the library has them. @param {Float64Array} sums @param {Uint32Array} counts */
export function sequenceBytes(sums, counts) {
    const view = new DataView(new ArrayBuffer(SEQUENCE_BYTES * sums.length));
    sums.forEach((sum, i) => {
        view.setFloat64(SEQUENCE_BYTES * i, sum, true);
        view.setUint32(SEQUENCE_BYTES * i + 8, counts[i], true);
    });
    return view;
}
