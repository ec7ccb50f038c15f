// dpo-kernel in WebAssembly: from logits to logit gradients, over typed arrays. See README.md.
import { count, fields, floats, indices, array, couples, label, number, refuse, target, targets } from './js/arrays.js';
import { Call, NORM_BYTES, SEQUENCE_BYTES, sequenceBytes } from './js/call.js';
import { DpoError, errorOf } from './js/errors.js';
import { Block, Frame } from './js/heap.js';
import { compile, fileOf, hasSimd } from './js/load.js';
import { lossBytes } from './js/losses.js';

export { Block, DpoError, hasSimd };

const KINDS = { f32: 1, f16: 2, bf16: 3 };
const PAIR_COLUMNS = ['loss', 'rewardChosen', 'rewardRejected', 'margin', 'dChosen', 'dRejected'];
const ANSWER_COLUMNS = ['loss', 'reward', 'dLogProb'];
const LAYOUT = ['targets', 'ignore', 'spans', 'vocab', 'tokenWeights'];
const LOGITS = [...LAYOUT, 'logits', 'rows', 'stride', 'scale', 'softcap', 'temperature'];
const OF_LOSS = ['loss', 'reference', 'weights', 'divisor'];
/** Buffers that errors name, by number. */
const BUFFER = { targets: 1, logProbs: 2, tokenWeights: 5, sequences: 6, reference: 7, weights: 10, offsets: 11,
    answerWeights: 18 };

/** @param {keyof BUFFER} name @param {number} expected @param {number} found */
function sameLength(name, expected, found) {
    if (expected !== found) throw errorOf(1, BUFFER[name], [expected, found], 0);
}

/**
 * Loads a build: `type` of the logits, `losses` all or `sigmoid` alone, with simd128 where the machine has it.
 * @param {import('./index.d.ts').LoadOptions} [options]
 */
export async function load(options = {}) {
    const given = fields(options, 'options', ['type', 'losses', 'simd', 'source']);
    const { type = 'f32', losses = 'all', simd = hasSimd(), source } = given;
    if (!Object.hasOwn(KINDS, type)) refuse(`type is ${String(type)}: none of f32, f16, bf16`);
    if (losses !== 'all' && losses !== 'sigmoid') refuse(`losses is ${String(losses)}: neither all nor sigmoid`);
    if (typeof simd !== 'boolean') refuse(`simd is ${String(simd)}: not a boolean`);
    if (simd && !hasSimd()) refuse('simd is true, but this machine has no simd128');
    const file = fileOf(type, losses, simd);
    const { exports } = await WebAssembly.instantiate(await compile(file, source), {});
    return new DpoKernel(exports, { type, losses, simd, file });
}

/** A module that is loaded. Made by `load`. */
export class DpoKernel {
    /** @type {any} */
    #wasm;
    #frame;
    /** @type {any} */
    #elements;

    /** @param {WebAssembly.Exports} wasm @param {import('./index.d.ts').Build} build @package */
    constructor(wasm, build) {
        this.#wasm = wasm;
        this.#frame = new Frame(this.#wasm);
        this.#elements = build.type === 'f32' ? Float32Array : Uint16Array;
        /** Which build runs. @readonly */
        this.build = Object.freeze({ ...build });
    }

    /** Bytes of the module's memory: it grows, and never shrinks. */
    get memoryBytes() {
        return this.#wasm.memory.buffer.byteLength;
    }

    /** A block of logits in the module's memory, all 0. @param {number} length */
    alloc(length) {
        return new Block(this.#wasm, this.#elements, count(length, 'length'));
    }

    /** @param {any} batch */
    score(batch) {
        const { call, rows, sequences } = this.#withLogits(fields(batch, 'batch', LOGITS));
        call.run('score');
        const error = call.error();
        const found = { ...call.sequences(sequences), logProbs: call.read(Float32Array, 'log_probs', rows) };
        if (error?.code === 'NonFiniteRows') error.found = found;
        if (error) throw error;
        return { ...found, ...call.tokens() };
    }

    /** @param {any} batch */
    sequenceLogProbs(batch) {
        const given = fields(batch, 'batch', [...LAYOUT, 'logProbs']);
        const call = new Call(this.#frame, this.#wasm);
        const { rows, sequences } = this.#layout(call, given);
        const logProbs = this.#floats(given.logProbs, 'logProbs', rows, Float32Array);
        call.copy('log_probs', logProbs);
        this.#run(call, 'sequence_log_probs');
        return call.sequences(sequences);
    }

    /** @param {any} batch */
    preferenceStep(batch) {
        const given = fields(batch, 'batch', [...LOGITS, ...OF_LOSS, 'pairs', 'offsets', 'unscored']);
        const { call, rows, sequences, finish } = this.#withLogits(given);
        const pairs = this.#ofPairs(call, given, sequences);
        this.#gradients(call, given, rows);
        this.#run(call, 'pair_step');
        finish();
        return { ...this.#pairResult(call, pairs, sequences), ...this.#stepResult(call, rows, sequences) };
    }

    /** @param {any} batch */
    unpairedStep(batch) {
        this.#hasAll();
        const given = fields(batch, 'batch', [...LOGITS, ...OF_LOSS, 'answers', 'unscored']);
        const { call, rows, sequences, finish } = this.#withLogits(given);
        const answers = this.#ofAnswers(call, given, sequences);
        this.#gradients(call, given, rows);
        this.#run(call, 'answer_step');
        finish();
        return { ...this.#answerResult(call, answers, sequences), ...this.#stepResult(call, rows, sequences) };
    }

    /** @param {any} batch */
    preferenceLoss(batch) {
        const given = fields(batch, 'batch', [...OF_LOSS, 'policy', 'pairs', 'offsets']);
        const call = new Call(this.#frame, this.#wasm);
        const sequences = this.#policy(call, given.policy);
        const pairs = this.#ofPairs(call, given, sequences);
        this.#run(call, 'pair_loss', () => this.#pairLosses(call, pairs, sequences));
        return this.#pairResult(call, pairs, sequences);
    }

    /** @param {any} batch */
    unpairedLoss(batch) {
        this.#hasAll();
        const given = fields(batch, 'batch', [...OF_LOSS, 'policy', 'answers']);
        const call = new Call(this.#frame, this.#wasm);
        const sequences = this.#policy(call, given.policy);
        const answers = this.#ofAnswers(call, given, sequences);
        this.#run(call, 'answer_loss', () => this.#answerLosses(call, answers, sequences));
        return this.#answerResult(call, answers, sequences);
    }

    /**
     * Runs a call, and throws what it reports, with what it has found beside rows or pairs that are not finite.
     * @param {Call} call @param {string} name @param {() => object} [found]
     */
    #run(call, name, found) {
        const error = call.run(name).error();
        if (error === null) return;
        if (error.code === 'UnknownLoss' && this.build.losses !== 'all') this.#hasAll();
        if (found && error.code.startsWith('NonFinite')) error.found = found();
        throw error;
    }

    #hasAll() {
        if (this.build.losses !== 'all') {
            throw new DpoError('NotBuilt', `${this.build.file} has the loss sigmoid alone: load it with losses "all"`);
        }
    }

    /** @param {any} value @param {keyof BUFFER} name @param {number} expected @param {any} type */
    #floats(value, name, expected, type) {
        const found = floats(value, name, this.#wasm.memory.buffer, type);
        sameLength(name, expected, found.length);
        return found;
    }

    /** @param {Call} call @param {Record<string, any>} given */
    #layout(call, given) {
        const memory = this.#wasm.memory.buffer;
        const ids = targets(given.targets, memory);
        const spans = couples(given.spans, 'spans', memory);
        const [rows, sequences] = [ids.length, spans.length / 2];
        call.set({ rows, sequences, vocab: count(given.vocab, 'vocab') });
        if (given.ignore !== undefined) call.set({ ignore: target(given.ignore, 'ignore') });
        call.copy('targets', ids);
        call.copy('spans', spans);
        call.room('order', 4 * sequences);
        call.room('policy', SEQUENCE_BYTES * sequences);
        if (given.tokenWeights !== undefined) {
            call.copy('token_weights', this.#floats(given.tokenWeights, 'tokenWeights', rows, Float32Array));
        }
        return { rows, sequences };
    }

    /**
     * A call with logits, where they lie or copied. `finish` copies gradients back.
     * @param {Record<string, any>} given
     */
    #withLogits(given) {
        const call = new Call(this.#frame, this.#wasm);
        const rows = count(given.rows, 'rows');
        const layout = this.#layout(call, given);
        sameLength('targets', rows, layout.rows);
        const { scale = 1, softcap, temperature = 1, stride = given.vocab, logits } = given;
        call.set({
            kind: KINDS[/** @type {keyof KINDS} */ (this.build.type)],
            stride: count(stride, 'stride'),
            scale: number(scale, 'scale'),
            softcap: softcap === undefined ? 0 : number(softcap, 'softcap'),
            has_softcap: softcap === undefined ? 0 : 1,
            temperature: number(temperature, 'temperature'),
        });
        call.copy('log_probs', new Float32Array(rows).fill(NaN));
        if (logits instanceof Block) {
            call.set({ logits: logits.address(this.#wasm), logits_len: logits.length });
            return { call, ...layout, finish: () => {} };
        }
        const source = this.#plain(logits);
        call.set({ logits_len: source.length });
        call.copy('logits', source);
        const finish = () => source.set(call.read(this.#elements, 'logits', source.length));
        return { call, ...layout, finish };
    }

    /** Logits of the caller's own memory, of this build's type. @param {any} logits */
    #plain(logits) {
        const found = array(logits, 'logits', this.#wasm.memory.buffer);
        const isHalf = this.build.type === 'f16' && found?.constructor?.name === 'Float16Array';
        if (!(found instanceof this.#elements) && !isHalf) {
            refuse(`logits are ${found.constructor.name}: a block, or ${this.#elements.name} for ${this.build.type}`);
        }
        return isHalf ? new Uint16Array(found.buffer, found.byteOffset, found.length) : found;
    }

    /** @param {Call} call @param {Record<string, any>} given @param {number} rows */
    #gradients(call, { unscored = 'keep' }, rows) {
        if (unscored !== 'keep' && unscored !== 'zero') {
            refuse(`unscored is ${String(unscored)}: neither keep nor zero`);
        }
        call.set({ unscored: unscored === 'zero' ? 1 : 0 });
        call.room('norms', NORM_BYTES * rows);
        call.room('coefficients', 8 * rows);
    }

    /** @param {Call} call @param {any} policy */
    #policy(call, policy) {
        const { sums, counts } = this.#sequences(policy, 'policy');
        call.set({ sequences: sums.length });
        call.copy('policy', sequenceBytes(sums, counts));
        return sums.length;
    }

    /** @param {any} given @param {string} name */
    #sequences(given, name) {
        const { sums, counts } = fields(given, name, ['sums', 'counts']);
        const memory = this.#wasm.memory.buffer;
        const found = { sums: floats(sums, `${name}.sums`, memory, Float64Array),
            counts: indices(counts, `${name}.counts`, memory) };
        if (found.sums.length !== found.counts.length) {
            refuse(`${name} has ${found.sums.length} sums and ${found.counts.length} counts`);
        }
        return found;
    }

    /** @param {Call} call @param {Record<string, any>} given @param {number} items @param {number} sequences */
    #ofLoss(call, { loss, reference, divisor }, items, sequences) {
        call.divisor = number(divisor ?? items, 'divisor');
        const { name, options, count: optionCount } = lossBytes(loss);
        call.set({ count: items, name_len: name.length, option_count: optionCount });
        call.copy('name', name);
        call.copy('options', options);
        call.room('d_log_probs', 8 * sequences);
        if (reference === undefined) return;
        if (Array.isArray(reference) || ArrayBuffer.isView(reference)) {
            call.copy('reference_sums', this.#floats(reference, 'reference', sequences, Float64Array));
        } else {
            const { sums, counts } = this.#sequences(reference, 'reference');
            sameLength('reference', sequences, sums.length);
            call.copy('reference_sequences', sequenceBytes(sums, counts));
        }
    }

    /** @param {Call} call @param {Record<string, any>} given @param {number} sequences */
    #ofPairs(call, given, sequences) {
        const pairs = couples(given.pairs, 'pairs', this.#wasm.memory.buffer);
        const items = pairs.length / 2;
        this.#ofLoss(call, given, items, sequences);
        call.copy('pairs', pairs);
        call.room('pair_losses', 8 * PAIR_COLUMNS.length * items);
        call.room('loss_order', 8 * items);
        if (given.weights !== undefined) {
            call.copy('weights', this.#floats(given.weights, 'weights', items, Float32Array));
        }
        if (given.offsets !== undefined) {
            call.copy('offsets', this.#floats(given.offsets, 'offsets', items, Float32Array));
        }
        return items;
    }

    /** @param {Call} call @param {Record<string, any>} given @param {number} sequences */
    #ofAnswers(call, given, sequences) {
        const answers = couples(given.answers, 'answers', this.#wasm.memory.buffer, label);
        const items = answers.length / 2;
        this.#ofLoss(call, given, items, sequences);
        call.copy('answers', answers);
        call.room('answer_losses', 8 * ANSWER_COLUMNS.length * items);
        if (given.weights !== undefined) {
            call.copy('weights', this.#floats(given.weights, 'answerWeights', items, Float32Array));
        }
        return items;
    }

    /** @param {Call} call @param {number} pairs @param {number} sequences */
    #pairLosses(call, pairs, sequences) {
        return { pairs: call.columns('pair_losses', pairs, PAIR_COLUMNS),
            dLogProbs: call.read(Float64Array, 'd_log_probs', sequences) };
    }

    /** @param {Call} call @param {number} answers @param {number} sequences */
    #answerLosses(call, answers, sequences) {
        return { answers: call.columns('answer_losses', answers, ANSWER_COLUMNS),
            dLogProbs: call.read(Float64Array, 'd_log_probs', sequences) };
    }

    /** @param {Call} call @param {number} pairs @param {number} sequences */
    #pairResult(call, pairs, sequences) {
        const summary = call.pairSummary();
        return { loss: summary.lossSum / call.divisor, summary, ...this.#pairLosses(call, pairs, sequences) };
    }

    /** @param {Call} call @param {number} answers @param {number} sequences */
    #answerResult(call, answers, sequences) {
        const summary = call.answerSummary();
        const loss = (summary.desirableLossSum + summary.undesirableLossSum) / call.divisor;
        return { loss, summary, ...this.#answerLosses(call, answers, sequences) };
    }

    /** @param {Call} call @param {number} rows @param {number} sequences */
    #stepResult(call, rows, sequences) {
        return { logProbs: call.read(Float32Array, 'log_probs', rows), policy: call.sequences(sequences),
            ...call.tokens() };
    }
}
