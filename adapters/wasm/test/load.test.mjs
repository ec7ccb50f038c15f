// Which build runs, where its bytes come from, and how large it is.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { hasSimd, load } from '../index.js';
import { fileOf } from '../js/load.js';
import { FIELDS } from '../js/call.js';
import { BUILDS, smallStep } from './common/index.mjs';

const fileAt = (file) => new URL(`../dist/${file}`, import.meta.url);

/** Bytes after wasm-opt, with a few percent for other compilers. @type {Record<string, number>} */
const MOST = {
    'f32.sigmoid.wasm': 29_800, 'f16.sigmoid.wasm': 31_800, 'bf16.sigmoid.wasm': 30_200,
    'f32.sigmoid.simd.wasm': 60_000, 'f16.sigmoid.simd.wasm': 72_000, 'bf16.sigmoid.simd.wasm': 66_000,
    'f32.wasm': 65_000, 'f16.wasm': 67_000, 'bf16.wasm': 65_500,
    'f32.simd.wasm': 108_000, 'f16.simd.wasm': 124_000, 'bf16.simd.wasm': 118_000,
};

test('the build with simd128 is taken where the machine has it', async () => {
    assert.equal(hasSimd(), true);
    const { build } = await load();
    assert.deepEqual(build, { type: 'f32', losses: 'all', simd: true, file: 'f32.simd.wasm' });
    assert.throws(() => { build.simd = false; }, TypeError);
    const other = await load({ simd: false, type: 'bf16', losses: 'sigmoid' });
    assert.deepEqual(other.build, { type: 'bf16', losses: 'sigmoid', simd: false, file: 'bf16.sigmoid.wasm' });
});

test('a machine without simd128 gets the build without', async () => {
    const { validate } = WebAssembly;
    const asked = [];
    WebAssembly.validate = () => false;
    try {
        const source = (file) => { asked.push(file); return readFileSync(fileAt(file)); };
        const dpo = await load({ source });
        assert.equal(dpo.build.simd, false);
        dpo.preferenceStep(smallStep());
        await assert.rejects(load({ simd: true }), { code: 'Argument' });
    } finally {
        WebAssembly.validate = validate;
    }
    assert.deepEqual(asked, ['f32.wasm']);
});

/** Whether a function of the module has a vector as parameter, result or local, or makes one. */
function usesVectors(bytes) {
    // Every constant or load of a vector begins with this byte, and a module of kernels has many.
    return bytes.filter((byte) => byte === 0xfd).length;
}

test('builds with simd128 are of vectors, those without are not', () => {
    for (const { build } of BUILDS) {
        const count = usesVectors(readFileSync(fileAt(build.file)));
        // By chance a byte of another kind is the same: one in some hundred.
        assert.equal(count > 1500, build.simd, `${build.file}: ${count}`);
    }
});

test('sizes', () => {
    assert.equal(Object.keys(MOST).length, BUILDS.length);
    for (const { build: { file } } of BUILDS) {
        const { size } = statSync(fileAt(file));
        assert.ok(size <= MOST[file], `${file}: ${size} bytes, at most ${MOST[file]}`);
        assert.ok(size >= 0.85 * MOST[file], `${file}: ${size} bytes: lower the limit of ${MOST[file]}`);
    }
});

test('a module asks for nothing, and gives what the JavaScript calls', async () => {
    for (const { build: { file, losses } } of BUILDS) {
        const module = await WebAssembly.compile(readFileSync(fileAt(file)));
        assert.deepEqual(WebAssembly.Module.imports(module), []);
        const exported = WebAssembly.Module.exports(module).map(({ name }) => name);
        const names = exported.filter((name) => !name.startsWith('__'));
        const both = ['allocate', 'memory', 'pair_loss', 'pair_step', 'release', 'score', 'sequence_log_probs'];
        const all = losses === 'all' ? ['answer_loss', 'answer_step', ...both] : both;
        assert.deepEqual(names.sort(), all.sort(), file);
    }
});

test('fields of a call stand in the order of src/call.rs', () => {
    const source = readFileSync(new URL('../src/call.rs', import.meta.url), 'utf8');
    const [, body] = /pub struct Call \{([^]*?)\n\}/.exec(source) ?? [];
    assert.deepEqual([...body.matchAll(/pub (\w+):/g)].map(([, name]) => name), ['divisor', ...FIELDS]);
});

test('bytes from anywhere', async () => {
    const bytes = readFileSync(fileAt('f32.wasm'));
    const asked = [];
    const right = [
        () => bytes, () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
        async () => WebAssembly.compile(bytes), () => new Response(bytes),
        () => `data:application/wasm;base64,${bytes.toString('base64')}`, (file) => fileAt(file),
        (file) => String(fileAt(file)),
    ];
    for (const source of right) {
        const dpo = await load({ simd: false, source: (file) => { asked.push(file); return source(file); } });
        assert.ok(dpo.preferenceStep(smallStep()).loss > 0);
    }
    assert.deepEqual(asked, Array(right.length).fill(fileOf('f32', 'all', false)));
    await assert.rejects(load({ source: () => 7 }), { code: 'Argument' });
    const missing = () => new Response('', { status: 404, statusText: 'Not Found' });
    await assert.rejects(load({ source: missing }), { code: 'Fetch' });
    await assert.rejects(load({ source: () => bytes.subarray(0, 100) }), WebAssembly.CompileError);
});

test('options that are none are refused', async () => {
    for (const options of [{ type: 'f64' }, { losses: 'ipo' }, { simd: 'yes' }, { kind: 'f32' }, 7]) {
        await assert.rejects(load(options), { code: 'Argument' });
    }
});
