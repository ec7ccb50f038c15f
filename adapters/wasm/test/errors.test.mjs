// Errors: the library's codes, texts and numbers, for each kind of bad input, with nothing written.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DpoError } from '../index.js';
import { BUFFERS, PARAMETERS, errorOf } from '../js/errors.js';
import { OPTIONS } from '../js/losses.js';
import { BUILDS, EXPECTED, FULL, bitsOf, buildsOf, f64s, smallBatch, smallStep } from './common/index.mjs';

test('texts and codes are the library\'s', () => {
    const all = EXPECTED.errors.concat(EXPECTED.buffers);
    assert.equal(EXPECTED.buffers.length, BUFFERS.length);
    for (const { number, subject, n, value, code, text } of all) {
        const error = errorOf(number, subject, n, f64s([value])[0]);
        assert.equal(error.message, text);
        assert.equal(error.code, code);
        assert.notEqual(number, 1004, text);
    }
    assert.equal(new Set(EXPECTED.errors.map(({ code }) => code)).size, 25);
});

test('names of parameters and their domains are the library\'s', () => {
    for (const number of Object.values(OPTIONS)) assert.ok(number in PARAMETERS, `${number}`);
    const known = EXPECTED.parameters.filter(({ subject }) => subject in PARAMETERS);
    assert.equal(known.length, Object.keys(PARAMETERS).length);
    for (const { number, subject, n, text } of known) assert.equal(errorOf(number, subject, n, 0.5).message, text);
});

/** What is changed in a step that is right, which error that is, and its numbers. */
const BAD = [
    [{ vocab: 0 }, 'EmptyVocabulary', {}],
    [{ stride: 4 }, 'StrideBelowVocabulary', { stride: 4, vocab: 5 }],
    [{ rows: 5 }, 'Length', { buffer: 'targets', expected: 5, found: 4 }],
    [{ vocab: 6, stride: 6 }, 'Length', { buffer: 'logits', expected: 24, found: 20 }],
    [{ stride: 2 ** 32 - 1 }, 'ShapeOverflow', { rows: 4, stride: 2 ** 32 - 1 }],
    [{ targets: [1, 2, 3, 5] }, 'TargetOutOfRange', { row: 3, vocab: 5, value: 5 }],
    [{ targets: [1, -2, 3, 4] }, 'TargetOutOfRange', { row: 1, vocab: 5, value: -2 }],
    [{ targets: BigInt64Array.of(1n, 2n, -101n, 4n) }, 'TargetOutOfRange', { row: 2, vocab: 5, value: -101 }],
    [{ targets: [1, 2, 3] }, 'Length', { buffer: 'targets', expected: 4, found: 3 }],
    [{ spans: [[0, 2], [2, 5]] }, 'SpanOutOfRange', { sequence: 1, start: 2, end: 5, rows: 4 }],
    [{ spans: [[0, 3], [2, 4]] }, 'SpansOverlap', { first: 0, second: 1 }],
    [{ spans: [[2, 1], [2, 4]] }, 'SpanOutOfRange', { sequence: 0, start: 2, end: 1, rows: 4 }],
    [{ targets: [-100, -100, 3, 4] }, 'NoScoredTokens', { sequence: 0 }],
    [{ tokenWeights: [1, 1, 1] }, 'Length', { buffer: 'token weights', expected: 4, found: 3 }],
    [{ tokenWeights: [1, 1, NaN, 1] }, 'InvalidValue', { buffer: 'token weights', index: 2, value: NaN }],
    [{ scale: 0 }, 'Parameter', { parameter: 'scale', value: 0 }],
    [{ softcap: -1 }, 'Parameter', { parameter: 'softcap', value: -1 }],
    [{ softcap: 0 }, 'Parameter', { parameter: 'softcap', value: 0 }],
    [{ softcap: 1e-50 }, 'Parameter', { parameter: 'softcap', value: 0 }],
    [{ softcap: NaN }, 'Parameter', { parameter: 'softcap', value: NaN }],
    [{ temperature: Infinity }, 'Parameter', { parameter: 'temperature', value: Infinity }],
    [{ temperature: 2 ** -120 }, 'Parameter', { parameter: 'transform', value: 2 ** 120 }],
    [{ pairs: [[0, 2]] }, 'SequenceOutOfRange', { pair: 0, sequence: 2, sequences: 2 }],
    [{ pairs: [[1, 1]] }, 'PairOfOneSequence', { pair: 0, sequence: 1 }],
    [{ reference: undefined }, 'ReferenceMissing', {}],
    [{ reference: [-1.5] }, 'Length', { buffer: 'reference log-probs', expected: 2, found: 1 }],
    [{ reference: { sums: [-1.5, -2], counts: [2, 3] } }, 'TokenCountMismatch',
        { sequence: 1, policy: 2, reference: 3 }],
    [{ reference: { sums: [-1.5], counts: [2] } }, 'Length', { buffer: 'reference log-probs', expected: 2, found: 1 }],
    [{ reference: [NaN, -2] }, 'NonFinitePairs', { first: 0, count: 1 }],
    [{ weights: [-1] }, 'InvalidValue', { buffer: 'pair weights', index: 0, value: -1 }],
    [{ weights: [1, 1] }, 'Length', { buffer: 'pair weights', expected: 1, found: 2 }],
    [{ offsets: [Infinity] }, 'InvalidValue', { buffer: 'pair margin offsets', index: 0, value: Infinity }],
    [{ divisor: 0 }, 'Parameter', { parameter: 'divisor', value: 0 }],
    [{ divisor: NaN }, 'Parameter', { parameter: 'divisor', value: NaN }],
    [{ loss: { name: 'sigmoid', beta: -1 } }, 'Parameter', { parameter: 'beta', value: -1 }],
    [{ loss: { name: 'sigmoid', label_smoothing: 0.6 } }, 'Parameter', { parameter: 'label_smoothing', value: 0.6 }],
    [{ loss: { name: 'sigmoid', reward_gap: 1 } }, 'ParameterUnused', { parameter: 'reward_gap' }],
    // Of the module's arguments.
    [{ targets: [1, 2, 3, 1.5] }, 'Argument', {}],
    [{ targets: [1, 2, 3, 2 ** 32] }, 'Argument', {}],
    [{ targets: [1, 2, 3, -(2 ** 31) - 1] }, 'Argument', {}],
    [{ targets: BigInt64Array.of(1n, 2n, 3n, 2n ** 40n) }, 'Argument', {}],
    [{ targets: '1234' }, 'Argument', {}],
    [{ spans: [[0, 2], [2]] }, 'Argument', {}],
    [{ spans: [0, 2, 2] }, 'Argument', {}],
    [{ spans: [[0, 2], [-2, 4]] }, 'Argument', {}],
    [{ pairs: undefined }, 'Argument', {}],
    [{ rows: -4 }, 'Argument', {}],
    [{ rows: 2 ** 32 }, 'Argument', {}],
    [{ vocab: '5' }, 'Argument', {}],
    [{ scale: '1' }, 'Argument', {}],
    [{ divisor: '1' }, 'Argument', {}],
    [{ divisor: 1n }, 'Argument', {}],
    [{ tokenWeights: [1, 1, '1', 1] }, 'Argument', {}],
    [{ tokenWeights: BigInt64Array.of(1n, 1n, 1n, 1n) }, 'Argument', {}],
    [{ reference: { sums: [-1.5, -2], counts: [2] } }, 'Argument', {}],
    [{ reference: { sums: [-1.5, -2] } }, 'Argument', {}],
    [{ reference: 'free' }, 'Argument', {}],
    [{ loss: undefined }, 'Argument', {}],
    [{ loss: {} }, 'Argument', {}],
    [{ loss: { name: 'sigmoid', Beta: 0.1 } }, 'Argument', {}],
    [{ loss: { name: 'sigmoid', beta: '0.1' } }, 'Argument', {}],
    [{ loss: { name: 'sigmoid', divergence: 'kl' } }, 'Argument', {}],
    [{ unscored: 'zeros' }, 'Argument', {}],
    [{ weigths: [1] }, 'Argument', {}],
];

/** Of the builds with all losses. */
const BAD_LOSSES = [
    [{ loss: 'dpop' }, 'UnknownLoss', {}],
    [{ loss: 'sft' }, 'NotOfPairs', {}],
    [{ loss: { name: 'a2po', advantage: 1 } }, 'NotOfPairs', {}],
    [{ loss: { name: 'rpo_sq' } }, 'ParameterMissing', { parameter: 'reward_gap' }],
    [{ loss: { name: 'sigmoid', divergence_alpha: 1 } }, 'ParameterUnused', { parameter: 'divergence_alpha' }],
    [{ loss: { name: 'sigmoid', divergence: 'forward_kl', divergence_alpha: 1 } }, 'ParameterUnused',
        { parameter: 'divergence_alpha' }],
    [{ loss: { name: 'sigmoid', divergence: 'alpha_trl' } }, 'ParameterMissing', { parameter: 'divergence_alpha' }],
    [{ loss: { name: 'simpo', divergence: 'forward_kl' }, reference: undefined }, 'ParameterUnused',
        { parameter: 'divergence' }],
    [{ loss: 'simpo' }, 'InputUnused', { buffer: 'reference log-probs' }],
    [{ loss: { name: 'robust', label_smoothing: 0.5 } }, 'Parameter', { parameter: 'label_smoothing', value: 0.5 }],
    [{ loss: 'aot', weights: [0.5] }, 'InvalidValue', { buffer: 'pair weights', index: 0, value: 0.5 }],
];

/** The error of a call; numbers compare NaN as equal to itself. */
function refused(call, code, numbers, what) {
    try {
        call();
    } catch (error) {
        assert.ok(error instanceof DpoError, `${what}: ${error.stack}`);
        assert.equal(error.code, code, `${what}: ${error.message}`);
        assert.deepEqual(error.numbers, numbers, what);
        assert.ok(error.message.length > 10, what);
        return error;
    }
    return assert.fail(`${what}: accepted`);
}

const shown = (change) => JSON.stringify(change, (_, x) => (typeof x === 'bigint' ? `${x}` : x));

test('every kind of bad input is refused, with nothing written', () => {
    for (const dpo of buildsOf('f32')) {
        const all = dpo.build.losses === 'all' ? BAD.concat(BAD_LOSSES) : BAD;
        const block = dpo.alloc(20);
        for (const [change, code, numbers] of all) {
            const batch = { ...smallStep(), ...change };
            const before = bitsOf(batch.logits);
            refused(() => dpo.preferenceStep(batch), code, numbers, shown(change));
            assert.deepEqual(bitsOf(batch.logits), before, shown(change));
            block.view.set(batch.logits);
            const inBlock = { ...batch, logits: block };
            refused(() => dpo.preferenceStep(inBlock), code, numbers, `${shown(change)} in a block`);
            assert.deepEqual(bitsOf(block.view), before, `${shown(change)} in a block`);
        }
        // And goes on working.
        dpo.preferenceStep(smallStep());
        block.free();
    }
});

test('logits of another type are refused', () => {
    for (const dpo of BUILDS) {
        const others = dpo.build.type === 'f32' ? [Uint16Array, Float64Array, Int32Array] : [Float32Array, Int16Array];
        for (const type of [...others, Array]) {
            refused(() => dpo.score({ ...smallBatch(), logits: new type(20) }), 'Argument', {}, type.name);
        }
    }
});

test('rows that are not finite are named, and all others found', () => {
    for (const dpo of buildsOf('f32')) {
        for (const bad of [NaN, Infinity]) {
            const batch = smallBatch();
            batch.logits[7] = bad;
            const before = bitsOf(batch.logits);
            const error = refused(() => dpo.score(batch), 'NonFiniteRows', { first: 1, count: 1 }, `${bad}`);
            const right = dpo.score(smallBatch());
            assert.ok(Number.isNaN(error.found.logProbs[1]) && Number.isNaN(error.found.sums[0]));
            assert.equal(error.found.logProbs[3], right.logProbs[3]);
            assert.equal(error.found.sums[1], right.sums[1]);
            refused(() => dpo.preferenceStep({ ...smallStep(), logits: batch.logits }), 'NonFiniteRows',
                { first: 1, count: 1 }, `${bad}`);
            assert.deepEqual(bitsOf(batch.logits), before);
        }
    }
});

test('pairs and answers that are not finite are named, and all others found', () => {
    const policy = { sums: [-1, -2, NaN, -3], counts: [1, 1, 1, 1] };
    const reference = [-1, -1, -1, -1];
    for (const dpo of BUILDS) {
        const pairs = [[0, 1], [2, 3]];
        const error = refused(() => dpo.preferenceLoss({ policy, reference, pairs, loss: 'sigmoid' }), 'NonFinitePairs',
            { first: 1, count: 1 }, 'pairs');
        assert.ok(error.found.pairs.loss[0] > 0 && Number.isNaN(error.found.pairs.loss[1]));
        assert.ok(error.found.dLogProbs[0] < 0 && Number.isNaN(error.found.dLogProbs[3]));
    }
    for (const dpo of FULL) {
        const answers = [[2, 1], [0, 0]];
        const error = refused(() => dpo.unpairedLoss({ policy, reference, answers, loss: 'nca_pair' }),
            'NonFiniteAnswers', { first: 0, count: 1 }, 'answers');
        assert.ok(Number.isNaN(error.found.answers.loss[0]) && error.found.answers.loss[1] > 0);
    }
});

test('bad answers are refused', () => {
    for (const dpo of FULL.filter(({ build }) => build.type === 'f32')) {
        const step = { ...smallBatch(), reference: [-1.5, -2], answers: [[0, 1], [1, 0]], loss: 'nca_pair' };
        dpo.unpairedStep({ ...step, logits: step.logits.slice() });
        for (const [change, code, numbers] of [
            [{ answers: [[0, 1], [1, 2]] }, 'UnknownLabel', { value: 2 }],
            [{ answers: [[0, 1], [1, -1]] }, 'UnknownLabel', { value: -1 }],
            [{ answers: [[0, 1], [2, 0]] }, 'AnswerOutOfRange', { answer: 1, sequence: 2, sequences: 2 }],
            [{ answers: [[0, 0.5]] }, 'Argument', {}],
            [{ answers: [[0, true]] }, 'Argument', {}],
            [{ weights: [1, -1] }, 'InvalidValue', { buffer: 'weights of the answers', index: 1, value: -1 }],
            [{ weights: [1] }, 'Length', { buffer: 'weights of the answers', expected: 2, found: 1 }],
            [{ loss: 'ipo' }, 'NotOfAnswers', {}],
            [{ loss: 'kto' }, 'ParameterMissing', { parameter: 'reference_kl' }],
            [{ offsets: [0, 0] }, 'Argument', {}],
            [{ pairs: [[0, 1]] }, 'Argument', {}],
        ]) {
            const before = bitsOf(step.logits);
            refused(() => dpo.unpairedStep({ ...step, ...change }), code, numbers, shown(change));
            assert.deepEqual(bitsOf(step.logits), before, shown(change));
        }
    }
});

test('planted faults are seen', () => {
    const [dpo] = buildsOf('f32');
    const caught = { code: 'ERR_ASSERTION' };
    const bad = () => dpo.preferenceStep({ ...smallStep(), pairs: [[0, 2]] });
    assert.throws(() => refused(() => dpo.preferenceStep(smallStep()), 'Length', {}, 'accepted'), caught);
    assert.throws(() => refused(bad, 'Length', {}, 'another code'), caught);
    assert.throws(() => refused(bad, 'SequenceOutOfRange', { pair: 0, sequence: 2, sequences: 3 }, 'a number'), caught);
    assert.throws(() => refused(() => null.x, 'Argument', {}, 'no error of ours'), caught);
});
