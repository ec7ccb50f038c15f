// Every loss by its name, with every option, to the bit; and the reference that each asks for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DIVERGENCES, OPTIONS } from '../js/losses.js';
import { EXPECTED, FULL, SMALL, f64s, sameBits, sameColumns, sameRecord } from './common/index.mjs';

const sequences = ({ sums, counts }) => ({ sums: f64s(sums), counts });

test('every option and divergence is in a case', () => {
    const given = EXPECTED.losses.concat(EXPECTED.answers).map(({ loss }) => loss);
    const options = new Set(given.flatMap((loss) => Object.keys(loss)));
    options.delete('name');
    assert.deepEqual([...options].sort(), Object.keys(OPTIONS).sort());
    assert.deepEqual([...new Set(given.map(({ divergence }) => divergence))].filter(Boolean).sort(),
        Object.keys(DIVERGENCES).sort());
    assert.ok(EXPECTED.losses.length >= 58 && EXPECTED.answers.length >= 9);
});

function batchOf({ loss, batch, found, pairs, answers }) {
    const given = { loss, policy: sequences(batch.policy), divisor: 3 };
    if (found.hasReference ?? true) given.reference = sequences(batch.reference);
    return pairs ? { ...given, pairs } : { ...given, answers };
}

function check(dpo, it) {
    const what = `${dpo.build.file}, ${JSON.stringify(it.loss)}`;
    const found = it.pairs ? dpo.preferenceLoss(batchOf(it)) : dpo.unpairedLoss(batchOf(it));
    sameColumns(it.pairs ? found.pairs : found.answers, it.found.columns, what);
    sameRecord(found.summary, it.found.summary, what);
    sameBits(found.dLogProbs, it.found.dLogProbs, `${what}: gradients`);
}

test('losses of pairs', () => {
    for (const dpo of FULL) EXPECTED.losses.forEach((it) => check(dpo, it));
});

test('losses of answers', () => {
    for (const dpo of FULL) EXPECTED.answers.forEach((it) => check(dpo, it));
});

test('gradients are divided by the pairs or answers where no divisor is given', () => {
    const [of, sums] = [EXPECTED.losses[0], EXPECTED.answers[0]];
    for (const dpo of FULL) {
        for (const [it, items] of [[of, 3], [sums, 4]]) {
            const run = (batch) => (it.pairs ? dpo.preferenceLoss(batch) : dpo.unpairedLoss(batch));
            const { divisor, ...batch } = batchOf(it);
            assert.equal(divisor, 3);
            assert.deepEqual(run(batch), run({ ...batch, divisor: items }));
            assert.notDeepEqual(run(batch), run({ ...batch, divisor: items + 1 }));
        }
    }
});

test('the small builds have sigmoid, and say what they lack', () => {
    const isPlain = ({ loss }) => ['sigmoid', 'dpo'].includes(loss.name) && !('divergence' in loss);
    const plain = EXPECTED.losses.filter(isPlain);
    assert.equal(plain.length, 2);
    for (const dpo of SMALL) {
        plain.forEach((it) => check(dpo, it));
        const [other] = EXPECTED.losses.filter(({ loss }) => loss.name === 'ipo');
        assert.throws(() => dpo.preferenceLoss(batchOf(other)), { code: 'NotBuilt' });
        assert.throws(() => dpo.unpairedLoss(batchOf(EXPECTED.answers[0])), { code: 'NotBuilt' });
        assert.throws(() => dpo.unpairedStep({}), { code: 'NotBuilt' });
        for (const option of ['divergence', 'reward_gap']) {
            const loss = { name: 'sigmoid', [option]: option === 'divergence' ? 'forward_kl' : 1 };
            assert.throws(() => dpo.preferenceLoss({ ...batchOf(plain[0]), loss }),
                { code: 'ParameterUnused', numbers: { parameter: option } });
        }
    }
});

test('planted faults are seen', () => {
    const [dpo] = FULL;
    for (const it of EXPECTED.losses.filter(({ loss }) => loss.name !== 'sigmoid' && loss.name !== 'dpo')) {
        assert.throws(() => check(dpo, { ...it, loss: 'sigmoid', found: { ...it.found, hasReference: true } }),
            { code: 'ERR_ASSERTION' }, it.loss.name);
    }
    for (const it of EXPECTED.losses.concat(EXPECTED.answers)) {
        for (const [option, value] of Object.entries(it.loss)) {
            if (typeof value !== 'number') continue;
            const loss = { ...it.loss, [option]: value + 2 ** -8 };
            assert.throws(() => check(dpo, { ...it, loss }), { code: 'ERR_ASSERTION' }, `${it.loss.name}: ${option}`);
        }
    }
});
