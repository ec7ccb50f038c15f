// Every figure of a step is that of the native library, to the bit, in every build.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
    EXPECTED, batchOf, bitsOf, buildsOf, f32s, f64s, hex, logitsOf, sameBits, sameColumns, sameRecord, smallStep,
} from './common/index.mjs';

const SIGMOID = { name: 'sigmoid', beta: 0.3, label_smoothing: 0.1 };
const KTO = { name: 'kto', beta: 0.2, reference_kl: 0.05 };

function pairsOf(input) {
    const batch = { ...batchOf(input), pairs: input.pairs, reference: f64s(input.reference), divisor: 5, loss: SIGMOID,
        unscored: input.unscored };
    if (input.weights) batch.weights = f32s(input.weights);
    if (input.offsets) batch.offsets = f32s(input.offsets);
    return batch;
}

const answersOf = (input) => ({ ...batchOf(input), answers: input.answers, reference: f64s(input.reference), divisor: 4,
    loss: KTO, unscored: input.unscored });

function sameStages(found, expected, what) {
    sameBits(found.logProbs, expected.logProbs, `${what}: log-probs`);
    const { sums, counts } = found.policy ?? found;
    sameBits(sums, expected.sums, `${what}: sums`);
    assert.deepEqual([...counts], expected.counts, `${what}: counts`);
}

// NaN that is padding, or of rows that are not scored, keeps its bits; no gradient here is NaN.
const sameGrads = (found, expected, what) => sameBits(found, expected, `${what}: gradients`, { anyNan: false });

function checkPairs(dpo, { in: input, pairs: expected }, logits, batch, what) {
    const found = dpo.preferenceStep({ ...batch, logits });
    sameGrads(logits.view ?? logits, expected.grads, what);
    sameStages(found, expected.stages, what);
    sameColumns(found.pairs, expected.columns, what);
    sameRecord(found.summary, expected.summary, what);
    assert.equal(hex(found.loss), expected.loss, `${what}: loss`);
    assert.deepEqual([found.tokens, found.maskedTokens], [expected.tokens, expected.maskedTokens], what);
    assert.equal(found.dLogProbs.length, input.spans.length);
}

function checkAll(dpo, it, logits, what) {
    const { in: input } = it;
    const restore = () => (logits.view ?? logits).set(logitsOf(input));
    restore();
    sameStages(dpo.score({ ...batchOf(input), logits }), it.score, `${what}, score`);
    sameGrads(logits.view ?? logits, input.logits, `${what}, score leaves logits alone`);
    checkPairs(dpo, it, logits, pairsOf(input), what);
    if (dpo.build.losses !== 'all') return;
    restore();
    const found = dpo.unpairedStep({ ...answersOf(input), logits });
    sameGrads(logits.view ?? logits, it.answers.grads, `${what}, answers`);
    sameStages(found, it.answers.stages, `${what}, answers`);
    sameColumns(found.answers, it.answers.columns, `${what}, answers`);
    sameRecord(found.summary, it.answers.summary, `${what}, answers`);
    assert.equal(hex(found.loss), it.answers.loss, `${what}, answers: loss`);
}

test('there is a case of each type for each shape', () => {
    assert.equal(EXPECTED.steps.length, 27);
    for (const type of ['f32', 'f16', 'bf16']) {
        assert.equal(buildsOf(type).length, 4);
        assert.equal(EXPECTED.steps.filter(({ in: { type: of } }) => of === type).length, 9);
    }
});

for (const where of ['the caller\'s memory', 'the module\'s memory']) {
    test(`bits of steps over logits in ${where}`, () => {
        for (const it of EXPECTED.steps) {
            const { type, vocab, stride } = it.in;
            for (const dpo of buildsOf(type)) {
                const own = logitsOf(it.in);
                const logits = where.startsWith('the module') ? dpo.alloc(own.length) : own;
                checkAll(dpo, it, logits, `${dpo.build.file}, V = ${vocab}, S = ${stride}`);
                logits.free?.();
            }
        }
    });
}

test('part of a block is a batch', () => {
    const [it] = EXPECTED.steps.filter(({ in: input }) => input.type === 'f32' && input.vocab === 31);
    for (const dpo of buildsOf('f32')) {
        const whole = dpo.alloc(it.in.logits.length + 7);
        whole.view.fill(7);
        checkPairs(dpo, it, (() => {
            const part = whole.subblock(3, 3 + it.in.logits.length);
            part.view.set(logitsOf(it.in));
            return part;
        })(), pairsOf(it.in), dpo.build.file);
        assert.deepEqual([...whole.view.slice(0, 3), ...whole.view.slice(-4)], Array(7).fill(7));
        whole.free();
    }
});

test('sequence log-probs of given token log-probs', () => {
    for (const { in: input, score } of EXPECTED.steps) {
        const { vocab, targets, ignore, spans, tokenWeights } = batchOf(input);
        for (const dpo of buildsOf(input.type)) {
            const batch = { vocab, targets, ignore, spans, logProbs: f32s(score.logProbs) };
            if (tokenWeights) batch.tokenWeights = tokenWeights;
            const { sums, counts } = dpo.sequenceLogProbs(batch);
            sameBits(sums, score.sums, 'sums');
            assert.deepEqual([...counts], score.counts);
        }
    }
});

test('targets, spans and pairs in every form', () => {
    for (const dpo of buildsOf('f32')) {
        const found = (change) => {
            const batch = { ...smallStep(), ...change };
            const { loss } = dpo.preferenceStep(batch);
            return [loss, ...bitsOf(batch.logits)];
        };
        const expected = found({});
        for (const change of [
            { targets: Uint32Array.of(1, 2, 3, 4) }, { targets: BigInt64Array.of(1n, 2n, 3n, 4n) },
            { targets: Int32Array.of(1, 2, 3, 4) }, { spans: Uint32Array.of(0, 2, 2, 4) },
            { spans: [0, 2, 2, 4] }, { pairs: Uint32Array.of(0, 1) }, { reference: Float64Array.of(-1.5, -2) },
            { reference: { sums: [-1.5, -2], counts: [2, 2] } }, { loss: { name: 'dpo' } }, { loss: 'sigmoid' },
            { divisor: 1 }, { weights: [1] }, { offsets: [0] }, { tokenWeights: [1, 1, 1, 1] }, { stride: 5 },
        ]) assert.deepEqual(found(change), expected, Object.keys(change)[0]);
        for (const ignored of [{ targets: [1, -100, 3, 4] }, { targets: BigInt64Array.of(1n, -100n, 3n, 4n) },
            { targets: Int32Array.of(1, -100, 3, 4) }, { targets: [1, 0, 3, 4], ignore: 0 },
            { targets: [1, -1, 3, 4], ignore: -1 }]) {
            assert.deepEqual(dpo.preferenceStep({ ...smallStep(), ...ignored }).policy.counts, Uint32Array.of(1, 2));
        }
    }
});

test('planted faults are seen', () => {
    const [it] = EXPECTED.steps.filter(({ in: input }) => input.type === 'f32' && input.vocab === 513);
    const [dpo] = buildsOf('f32');
    const faults = [
        (batch) => { batch.pairs = batch.pairs.map(([chosen, rejected]) => [rejected, chosen]); },
        (batch) => { batch.divisor = 4; },
        (batch) => { batch.loss = { ...SIGMOID, beta: 0.30000000000000004 }; },
        (batch) => { batch.loss = { name: 'sigmoid', beta: 0.3 }; },
        (batch) => { batch.weights = batch.weights.map((x, i) => (i === 2 ? x + 2 ** -23 : x)); },
        (batch) => { batch.offsets = batch.offsets.map((x) => -x); },
        (batch) => { batch.tokenWeights = batch.tokenWeights.map((x, i) => (i === 0 ? x + 2 ** -22 : x)); },
        (batch) => { batch.reference = batch.reference.map((x, i) => (i === 4 ? x + 2 ** -48 : x)); },
        (batch) => { batch.unscored = 'keep'; },
        (batch) => { batch.temperature = 1 + 2 ** -20; },
        (batch) => { batch.targets = batch.targets.map((x, i) => (i === 11 ? (x + 1) % 513 : x)); },
        (batch, logits) => { logits[0] += 2 ** -18; },
    ];
    checkPairs(dpo, it, logitsOf(it.in), pairsOf(it.in), 'without a fault');
    faults.forEach((plant, i) => {
        const [batch, logits] = [pairsOf(it.in), logitsOf(it.in)];
        plant(batch, logits);
        assert.throws(() => checkPairs(dpo, it, logits, batch, 'planted'), { code: 'ERR_ASSERTION' }, `fault ${i}`);
    });
});

test('a flipped bit anywhere is seen', () => {
    const expected = [1, 2, 3];
    sameBits(Uint16Array.of(1, 2, 3), expected, 'same');
    assert.throws(() => sameBits(Uint16Array.of(1, 2, 7), expected, 'other'), { code: 'ERR_ASSERTION' });
    assert.throws(() => sameBits(Uint16Array.of(1, 2), expected, 'short'), { code: 'ERR_ASSERTION' });
    const nan = [0x7fc00000];
    sameBits(Float32Array.of(NaN), [0x7fc00001], 'a NaN is a NaN');
    assert.throws(() => sameBits(Float32Array.of(1), nan, 'no NaN'), { code: 'ERR_ASSERTION' });
    assert.throws(() => sameBits(Float32Array.of(NaN), [0x7fc00001], 'padding', { anyNan: false }),
        { code: 'ERR_ASSERTION' });
    assert.throws(() => sameBits(Float64Array.of(-0), [hex(0)], 'zero'), { code: 'ERR_ASSERTION' });
});
