// The module's memory: blocks, growth between calls, views that are lost, memory that is not there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Block, load } from '../index.js';
import { Frame } from '../js/heap.js';
import { BUILDS, bitsOf, buildsOf, smallBatch, smallStep } from './common/index.mjs';

const BIG = 4 << 20; // elements: more than a new module has free

/** Takes blocks until memory has grown; gives them back by the function returned. */
function grow(dpo) {
    const [bytes, taken] = [dpo.memoryBytes, []];
    while (dpo.memoryBytes === bytes) taken.push(dpo.alloc(BIG));
    return () => taken.forEach((block) => block.free());
}

test('a block keeps its elements when memory grows, its views are lost', () => {
    for (const dpo of BUILDS) {
        const block = dpo.alloc(1000);
        const view = block.view;
        view.set(Array.from({ length: 1000 }, (_, i) => i));
        const giveBack = grow(dpo);
        assert.equal(view.length, 0, 'the view is lost');
        assert.deepEqual([...block.view], Array.from({ length: 1000 }, (_, i) => i));
        giveBack();
        block.free();
    }
});

test('a call that grows memory finds what one without growth finds', async () => {
    for (const simd of [false, true]) {
        // New modules, so that the frame of the first large call has to grow.
        const [small, large] = [await load({ simd }), await load({ simd })];
        const rows = 2;
        const vocab = BIG / rows;
        const batch = { rows, vocab, targets: [3, vocab - 1], spans: [[0, 1], [1, 2]], pairs: [[0, 1]],
            reference: [-10, -20], loss: 'sigmoid' };
        const own = Float32Array.from({ length: BIG }, (_, i) => (i % 1013) / 100);
        const [block, grown] = [small.alloc(BIG), own.slice()];
        block.view.set(own);
        const before = large.memoryBytes;
        const kept = large.alloc(20);
        kept.view.set(smallBatch().logits);
        const found = large.preferenceStep({ ...batch, logits: grown });
        assert.ok(large.memoryBytes >= before + 4 * BIG, 'memory grew in the call');
        const expected = small.preferenceStep({ ...batch, logits: block });
        assert.deepEqual(found, expected);
        assert.equal(Buffer.compare(Buffer.from(grown.buffer), Buffer.from(block.view.slice().buffer)), 0);
        assert.deepEqual([...kept.view], [...smallBatch().logits], 'blocks of before are as they were');
        assert.notDeepEqual(grown.subarray(0, 100), own.subarray(0, 100));
    }
});

test('memory is used again', () => {
    for (const dpo of buildsOf('f32')) {
        const turn = () => {
            const block = dpo.alloc(BIG / 8);
            assert.ok(block.view.every((x) => x === 0), 'zeroed, though it was used before');
            block.view.fill(NaN);
            dpo.preferenceStep(smallStep());
            block.free();
        };
        turn();
        const bytes = dpo.memoryBytes;
        for (let i = 0; i < 50; i++) turn();
        for (let i = 0; i < 2000; i++) dpo.preferenceStep(smallStep());
        assert.equal(dpo.memoryBytes, bytes);
    }
});

test('a frame that grows gives its memory back', async () => {
    const dpo = await load();
    const most = 20;
    for (let size = 1; size <= most; size++) {
        const logits = new Float32Array(size * 100_000);
        dpo.score({ logits, rows: 1, vocab: logits.length, targets: [0], spans: [[0, 1]] });
    }
    assert.ok(dpo.memoryBytes < 3 * 4 * most * 100_000, `${dpo.memoryBytes}`);
});

test('places in a frame are aligned, and apart', () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const taken = [];
    const frame = new Frame({ memory, allocate: (bytes) => { taken.push(bytes); return 32; }, release: () => {} });
    const sizes = [0, 1, 7, 8, 15, 16, 17, 4];
    const sources = sizes.map((size) => new Uint8Array(size).fill(size));
    const places = sources.map((source) => frame.copy(source));
    const room = frame.room(5);
    frame.commit();
    [...places, room].forEach((place, i, all) => {
        assert.equal(place % 16, 0);
        assert.ok(i === 0 || place >= all[i - 1] + Math.max(1, sizes[i - 1]));
    });
    assert.deepEqual(taken, [frame.used]);
    assert.ok(frame.used >= room + 5);
    sources.forEach((source, i) => assert.deepEqual(frame.read(Uint8Array, places[i], source.length), source));
});

test('what an earlier call has left is seen by none', () => {
    for (const dpo of buildsOf('f32')) {
        const expected = dpo.preferenceStep({ ...smallStep(), targets: [1, -100, 3, 4] });
        const large = { ...smallBatch(), rows: 40, logits: new Float32Array(200).fill(1), targets: Array(40).fill(2),
            spans: [[0, 20], [20, 40]], tokenWeights: Array(40).fill(2) };
        dpo.preferenceStep({ ...smallStep(), ...large, weights: [3], offsets: [1], scale: 2, softcap: 3, divisor: 7,
            unscored: 'zero' });
        const batch = { ...smallStep(), targets: [1, -100, 3, 4] };
        assert.deepEqual(dpo.preferenceStep(batch), expected);
        assert.ok(Number.isNaN(expected.logProbs[1]), 'rows that are not scored have no log-prob');
        assert.deepEqual([...batch.logits.subarray(5, 10)], [...smallBatch().logits.subarray(5, 10)]);
    }
});

test('detached arrays and views of the module\'s memory are refused', () => {
    for (const dpo of buildsOf('f32')) {
        const block = dpo.alloc(20);
        const lost = block.view;
        const giveBack = grow(dpo);
        assert.equal(lost.length, 0);
        assert.throws(() => dpo.score({ ...smallBatch(), logits: lost }), { name: 'DpoError', code: 'Detached' });
        assert.throws(() => dpo.score({ ...smallBatch(), tokenWeights: lost }), { code: 'Detached' });
        assert.throws(() => dpo.score({ ...smallBatch(), logits: block.view }), { code: 'ModuleMemory' });
        const part = block.view.subarray(0, 4);
        assert.throws(() => dpo.score({ ...smallBatch(), tokenWeights: part }), { code: 'ModuleMemory' });
        const moved = smallBatch();
        structuredClone(moved.logits, { transfer: [moved.logits.buffer] });
        assert.throws(() => dpo.score(moved), { code: 'Detached' });
        const raw = new DataView(new ArrayBuffer(80));
        assert.throws(() => dpo.score({ ...smallBatch(), logits: raw }), { code: 'Argument' });
        // An empty array is no detached one.
        assert.throws(() => dpo.score({ ...smallBatch(), tokenWeights: new Float32Array(0) }), { code: 'Length' });
        giveBack();
        block.free();
    }
});

test('freed blocks, blocks of another module and parts are told', () => {
    const [dpo, other] = buildsOf('f32');
    const block = dpo.alloc(20);
    const part = block.subblock(5, 10);
    assert.equal(part.length, 5);
    assert.throws(() => other.score({ ...smallBatch(), logits: block }), { code: 'ForeignBlock' });
    assert.throws(() => block.subblock(0, 21), { code: 'Argument' });
    assert.throws(() => block.subblock(3, 2), { code: 'Argument' });
    assert.throws(() => block.subblock(0.5), { code: 'Argument' });
    assert.throws(() => part.free(), { code: 'Argument' });
    part.subblock(1, 2).view[0] = 9;
    assert.equal(block.view[6], 9);
    block.free();
    block.free();
    for (const use of [() => block.view, () => part.view, () => block.subblock(0, 1),
        () => dpo.score({ ...smallBatch(), logits: block }), () => dpo.score({ ...smallBatch(), logits: part })]) {
        assert.throws(use, { code: 'Freed' });
    }
    assert.ok(dpo.alloc(0) instanceof Block);
    assert.equal(dpo.alloc(0).view.length, 0);
});

test('memory that is not there is an error, and the module goes on', () => {
    for (const dpo of buildsOf('f32')) {
        // The last would be 20 bytes in 32 bits.
        for (const length of [2 ** 29, 2 ** 30, 2 ** 32 - 1, 2 ** 30 + 5]) {
            assert.throws(() => dpo.alloc(length), { code: 'OutOfMemory', numbers: { bytes: 4 * length } });
        }
        for (const length of [-1, 1.5, NaN, '20', 2 ** 32]) {
            assert.throws(() => dpo.alloc(length), { code: 'Argument' });
        }
        const batch = smallStep();
        dpo.preferenceStep(batch);
        assert.notDeepEqual(bitsOf(batch.logits), bitsOf(smallBatch().logits));
    }
});

test('arrays that share memory are copied before anything is written', () => {
    const [dpo] = buildsOf('f32');
    const expected = smallStep();
    expected.reference = [-1, -2];
    const shared = new ArrayBuffer(80);
    const logits = new Float32Array(shared);
    logits.set(smallBatch().logits);
    // The targets lie on the logits' own bits.
    const ids = new Uint32Array(shared, 0, 4);
    const bits = bitsOf(logits);
    assert.throws(() => dpo.preferenceStep({ ...expected, logits, targets: ids }), { code: 'TargetOutOfRange' });
    assert.deepEqual(bitsOf(logits), bits);
    const weights = logits.subarray(0, 4);
    const found = dpo.preferenceStep({ ...expected, logits, tokenWeights: weights });
    const apart = { ...expected, logits: smallBatch().logits, tokenWeights: smallBatch().logits.slice(0, 4) };
    assert.deepEqual(found, dpo.preferenceStep(apart));
    assert.deepEqual(bitsOf(logits), bitsOf(apart.logits));
});
