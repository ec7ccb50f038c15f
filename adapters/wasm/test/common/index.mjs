// What the tests share: the figures of this machine's own build, every build of the module, bits.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { load } from '../../index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

function figures() {
    const args = ['run', '--quiet', '--locked', '--release', '--example', 'expected'];
    const done = spawnSync('cargo', args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 });
    if (done.error) throw done.error;
    if (done.status !== 0) throw new Error(`cargo ${args.join(' ')}: ${done.stderr}`);
    return JSON.parse(done.stdout);
}

/** Inputs, and what the library finds for them natively, in portable arithmetic. */
export const EXPECTED = figures();

/** Every build: the tests fail where this machine cannot run one. */
export const BUILDS = await Promise.all(['f32', 'f16', 'bf16'].flatMap((type) => ['all', 'sigmoid'].flatMap((losses) =>
    [false, true].map((simd) => load({ type, losses, simd })))));

/** @param {string} type */
export const buildsOf = (type) => BUILDS.filter(({ build }) => build.type === type);

/** Those with all losses and those with one. */
export const [FULL, SMALL] = ['all', 'sigmoid'].map((losses) => BUILDS.filter(({ build }) => build.losses === losses));

/** Floats from their bits: hexadecimal f64. */
export const f64s = (hex) => new Float64Array(BigUint64Array.from(hex, (bits) => BigInt(`0x${bits}`)).buffer);
export const f32s = (bits) => bits && new Float32Array(Uint32Array.from(bits).buffer);
export const f32 = (bits) => f32s([bits])[0];
export const hex = (x) => new BigUint64Array(Float64Array.of(x).buffer)[0].toString(16).padStart(16, '0');

/** The bits of an array of any type. */
export function bitsOf(array) {
    const bytes = array.BYTES_PER_ELEMENT;
    if (bytes === 8) return [...array].map(hex);
    const as = bytes === 4 ? Uint32Array : Uint16Array;
    return [...new as(array.buffer, array.byteOffset, array.length)];
}

const isNan = {
    Float32Array: (bits) => (bits & 0x7fffffff) > 0x7f800000,
    Float64Array: (bits) => Number.isNaN(f64s([bits])[0]),
};

/**
 * Fails unless the bits are those expected. A NaN that is computed is any NaN: its sign and payload are the
 * machine's choice. NaN of elements that are not written must keep its bits, and 16-bit arrays are compared by bits.
 */
export function sameBits(array, expected, what, { anyNan = true } = {}) {
    const found = bitsOf(array);
    assert.equal(found.length, expected.length, `${what}: length`);
    const kind = isNan[array.constructor.name];
    found.forEach((bits, i) => {
        if (bits === expected[i] || (anyNan && kind?.(bits) && kind(expected[i]))) return;
        assert.fail(`${what}[${i}]: ${bits} found, ${expected[i]} expected`);
    });
}

/** Sums and counts. */
export function sameRecord(found, expected, what) {
    assert.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort(), what);
    for (const [name, value] of Object.entries(expected)) {
        const is = typeof value === 'string' ? hex(found[name]) : found[name];
        assert.equal(is, value, `${what}.${name}`);
    }
}

export function sameColumns(found, expected, what) {
    assert.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort(), what);
    for (const [name, bits] of Object.entries(expected)) sameBits(found[name], bits, `${what}.${name}`);
}

/** Logits of a case in the caller's own memory. */
export const logitsOf = ({ type, logits }) => (type === 'f32' ? f32s(logits) : Uint16Array.from(logits));

/** A case as a batch without its loss. */
export function batchOf(input) {
    const given = {
        rows: input.rows, vocab: input.vocab, stride: input.stride, scale: f32(input.scale),
        temperature: f32(input.temperature), targets: input.targets, ignore: input.ignore, spans: input.spans,
    };
    if (input.softcap !== null) given.softcap = f32(input.softcap);
    if (input.tokenWeights) given.tokenWeights = f32s(input.tokenWeights);
    return given;
}

/** A small batch of f32 that is right, for tests that make it wrong: 4 rows, two answers. */
export function smallBatch() {
    return {
        logits: Float32Array.of(
            0.5, 1.5, -1, 0, 0.25, -0.5, 0, 2, 0.5, -1.5, 1, 0, 0.5, 1.25, -0.75, 0, -2, 0.5, 0.75, 1),
        rows: 4, vocab: 5, targets: [1, 2, 3, 4], spans: [[0, 2], [2, 4]],
    };
}

export function smallStep() {
    return { ...smallBatch(), pairs: [[0, 1]], reference: [-1.5, -2], loss: { name: 'sigmoid', beta: 0.1 } };
}
