// Log-softmax in WebAssembly, in Node.js: dpo-kernel beside onnxruntime-web and TensorFlow.js.
//
//   rustup target add wasm32-unknown-unknown
//   cd benches/wasm && npm ci && node bench.mjs
//
// Everybody takes turns on the same f32 logits and keeps the best time, on one thread with SIMD. Results
// are checked against f64 first. TensorFlow.js, which takes fifty times as long, is in every eighth round.
// Options: --rounds N (default 160), --vocab V for one vocabulary alone.
//
// What is timed:
//   dpo-kernel       token log-probs of logits in the module's memory; gradients in place of them
//   onnxruntime-web  session.run of LogSoftmax (opset 13, axis -1), and of LogSoftmax + GatherElements, which
//                    is what a trainer needs. With tensors made once; a run copies its input into the module's
//                    memory, and its output out of it. "no copies" is the second model with the logits as a
//                    constant inside it, optimisation off, so that only one number a row leaves.
//   TensorFlow.js    tf.logSoftmax of a tensor that lies in the module's memory, without reading back; the
//                    gradient by tf.grad of Σ onehot · c · logSoftmax, the products' operand made once.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as ort from 'onnxruntime-web';

const here = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

// Rows that make 8 MB of each, or as near as that can be had.
const SHAPES = [
    [256, 8192],
    [32_000, 64],
    [131_072, 16],
];
// Worst errors before somebody counts as doing other work: of log-probs absolute, of gradients relative.
// TensorFlow.js adds up a row in one f32, and is off by 1e-4 at V = 131,072.
const TOLERANCE = { logProb: 1e-3, grad: 1e-3 };
// How many times faster than the faster peer's log-softmax dpo-kernel should be.
const BAR = 5;

function options() {
    const found = { rounds: 160, vocab: null };
    const list = process.argv.slice(2);
    for (let i = 0; i < list.length; i += 2) {
        const name = list[i].replace(/^--/, '');
        const value = Number(list[i + 1]);
        if (!(name in found) || !Number.isInteger(value) || value < 1) {
            console.error(`bench: ${list[i]} ${list[i + 1]}: no such option`);
            process.exit(2);
        }
        found[name] = value;
    }
    return found;
}

// The work: T rows of V logits in ±10, a target and a coefficient ∂L/∂log p for each row.
function makeWork(vocab, rows) {
    let state = 1;
    const random = () => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return state / 2 ** 32;
    };
    const logits = Float32Array.from({ length: rows * vocab }, () => 20 * random() - 10);
    const targets = Uint32Array.from({ length: rows }, () => Math.floor(random() * vocab));
    const coefficients = Float64Array.from({ length: rows }, (_, row) => (row < rows / 2 ? -0.05 : 0.05));
    const logZ = Float64Array.from({ length: rows }, (_, row) => {
        const x = logits.subarray(row * vocab, (row + 1) * vocab);
        const top = x.reduce((a, b) => Math.max(a, b), -Infinity);
        return top + Math.log(x.reduce((sum, x) => sum + Math.exp(x - top), 0));
    });
    return { vocab, rows, logits, targets, coefficients, logZ };
}

// The worst error of the targets' log-probs.
function logProbError({ vocab, rows, logits, targets, logZ }, found) {
    let worst = 0;
    for (let row = 0; row < rows; row++) {
        const exact = logits[row * vocab + targets[row]] - logZ[row];
        worst = Math.max(worst, Math.abs(found(row) - exact)) || Infinity;
    }
    return worst;
}

// The worst error of the gradients in the first and the last row, relative to the exact ones.
function gradError({ vocab, rows, logits, targets, coefficients, logZ }, found) {
    let worst = 0;
    for (const row of [0, rows - 1]) {
        for (let column = 0; column < vocab; column++) {
            const at = row * vocab + column;
            const p = Math.exp(logits[at] - logZ[row]);
            const exact = coefficients[row] * ((column === targets[row] ? 1 : 0) - p);
            worst = Math.max(worst, Math.abs((found[at] - exact) / exact)) || Infinity;
        }
    }
    return worst;
}

// Nanoseconds that something takes, and what it gives.
async function timed(work) {
    const start = process.hrtime.bigint();
    const result = await work();
    return [Number(process.hrtime.bigint() - start), result];
}

function build() {
    const flags = { ...process.env, RUSTFLAGS: '-Ctarget-feature=+simd128' };
    const target = 'wasm32-unknown-unknown';
    const done = spawnSync('cargo', ['build', '--release', '--quiet', '--target', target], {
        cwd: here,
        env: flags,
        stdio: 'inherit',
    });
    if (done.status !== 0) process.exit(1);
    return path.join(here, 'target', target, 'release', 'dpo_kernel_wasm.wasm');
}

async function ours(work, type) {
    const module = await WebAssembly.instantiate(readFileSync(build.file ??= build()), {});
    const { memory, ...wasm } = module.instance.exports;
    if (!wasm.has_simd()) throw new Error('the module was built without simd128');
    const { vocab, rows, logits, targets, coefficients } = work;
    if (!wasm.prepare(['f32', 'f16', 'bf16'].indexOf(type), rows, vocab)) throw new Error('no such type');
    const view = (Array, at, length) => new Array(memory.buffer, at, length);
    const elements = view(type === 'f32' ? Float32Array : Uint16Array, wasm.logits(), rows * vocab);
    view(Uint32Array, wasm.targets(), rows).set(targets);
    view(Float64Array, wasm.coefficients(), rows).set(coefficients);
    const original = type === 'f32' ? logits : narrowed(logits, type);
    elements.set(original);
    const turn = (work) => timed(() => { if (!work()) throw new Error('dpo-kernel refused'); });
    const logProbs = () => view(Float32Array, wasm.log_probs(), rows);
    return {
        name: `dpo-kernel, ${type}`,
        async forward() {
            const [time] = await turn(wasm.forward);
            return [time, (row) => logProbs()[row]];
        },
        async backward() {
            const [time] = await turn(wasm.backward);
            const found = elements.slice();
            elements.set(original);
            return [time, found];
        },
    };
}

// Logits cut to 16 bits: they are timed, not compared with those of others.
function narrowed(logits, type) {
    const bits = new Uint32Array(logits.buffer, logits.byteOffset, logits.length);
    if (type === 'bf16') return Uint16Array.from(bits, (x) => x >>> 16);
    return Uint16Array.from(bits, (x) => {
        const exponent = ((x >>> 23) & 255) - 112;
        const sign = (x >>> 16) & 0x8000;
        return exponent < 1 ? sign : sign | (exponent << 10) | ((x >>> 13) & 0x3ff);
    });
}

// ONNX by hand: fields of protocol buffers, by their numbers in onnx.proto.
const varint = (n) => {
    const bytes = [];
    for (n = BigInt.asUintN(64, BigInt(n)); n > 127n; n >>= 7n) bytes.push(Number(n & 127n) | 128);
    return Buffer.from([...bytes, Number(n)]);
};
const int = (field, n) => Buffer.concat([varint(field << 3), varint(n)]);
const bytes = (field, content) => Buffer.concat([varint((field << 3) | 2), varint(content.length), content]);
const text = (field, content) => bytes(field, Buffer.from(content));
const message = (field, ...parts) => bytes(field, Buffer.concat(parts));
const [FLOAT, INT64] = [1, 7];
const axis = message(5, text(1, 'axis'), int(3, -1), int(20, 2));
const node = (operator, inputs, output) => message(
    1, ...inputs.map((name) => text(1, name)), text(2, output), text(4, operator), axis);
const value = (field, name, type, shape) => message(
    field, text(1, name), message(2, message(1, int(1, type), message(2, ...shape.map((n) => message(1, int(1, n)))))));
const model = (...graph) => Buffer.concat([
    int(1, 7), message(7, ...graph, text(2, 'log-softmax')), message(8, text(1, ''), int(2, 13))]);

async function onnx({ vocab, rows, logits, targets }, kind) {
    ort.env.wasm.numThreads = 1; // Its one build has SIMD.
    const [all, one] = [[rows, vocab], [rows, 1]];
    const softmax = node('LogSoftmax', ['x'], 'y');
    const gather = node('GatherElements', ['y', 't'], 'p');
    const [x, t, p] = [value(11, 'x', FLOAT, all), value(11, 't', INT64, one), value(12, 'p', FLOAT, one)];
    const constant = message(
        5, int(1, rows), int(1, vocab), int(2, FLOAT), text(8, 'x'), bytes(9, Buffer.from(logits.buffer)));
    const graphs = {
        LogSoftmax: [softmax, x, value(12, 'y', FLOAT, all)],
        'LogSoftmax + GatherElements': [softmax, gather, x, t, p],
        'the same, no copies': [softmax, gather, constant, t, p],
    };
    const isConstant = kind === 'the same, no copies';
    const session = await ort.InferenceSession.create(model(...graphs[kind]), {
        executionProviders: ['wasm'],
        // Optimised, a model of a constant would be its result.
        graphOptimizationLevel: isConstant ? 'disabled' : 'all',
    });
    const ids = BigInt64Array.from(targets, BigInt);
    const tensors = { x: new ort.Tensor('float32', logits, all), t: new ort.Tensor('int64', ids, one) };
    const feeds = Object.fromEntries(session.inputNames.map((name) => [name, tensors[name]]));
    return {
        name: `onnxruntime-web ${ort.env.versions.web}, ${kind}`,
        copies: !isConstant,
        async forward() {
            const [time, found] = await timed(() => session.run(feeds));
            const y = found.y?.data;
            return [time, y ? (row) => y[row * vocab + targets[row]] : (row) => found.p.data[row]];
        },
        release: () => session.release(),
    };
}

async function tensorflow({ vocab, rows, logits, targets, coefficients }) {
    const tf = require('@tensorflow/tfjs');
    const backend = require('@tensorflow/tfjs-backend-wasm');
    backend.setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);
    backend.setThreadsCount(1);
    await tf.setBackend('wasm');
    if (tf.getBackend() !== 'wasm' || !await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')) {
        throw new Error('TensorFlow.js has no wasm with SIMD here');
    }
    const x = tf.tensor2d(logits, [rows, vocab]);
    const weights = new Float32Array(rows * vocab);
    targets.forEach((target, row) => { weights[row * vocab + target] = coefficients[row]; });
    const operand = tf.tensor2d(weights, [rows, vocab]);
    const grad = tf.grad((x) => tf.sum(tf.mul(tf.logSoftmax(x), operand)));
    const kernels = await tf.profile(() => tf.tidy(() => { tf.logSoftmax(x).dispose(); }));
    const names = kernels.kernels.map((kernel) => kernel.name).filter((name) => !name.endsWith('__op'));
    // Of its memory too: what is read back goes through the clock of nobody.
    const read = (tensor) => {
        const data = tensor.dataSync();
        tensor.dispose();
        return data;
    };
    return {
        name: `TensorFlow.js ${tf.version_core}, logSoftmax`,
        isSlow: true,
        note: `TensorFlow.js's logSoftmax is ${names.join(', ')}.`,
        async forward() {
            const [time, y] = await timed(() => tf.logSoftmax(x));
            const data = read(y);
            return [time, (row) => data[row * vocab + targets[row]]];
        },
        async step() {
            const [time, dx] = await timed(() => tf.tidy(() => grad(x)));
            return [time, read(dx)];
        },
        release: () => tf.dispose([x, operand]),
    };
}

async function measure(work, rounds) {
    const peers = [await ours(work, 'f32')];
    for (const kind of ['LogSoftmax', 'LogSoftmax + GatherElements', 'the same, no copies']) {
        peers.push(await onnx(work, kind));
    }
    peers.push(await tensorflow(work));
    const found = [];
    for (const peer of peers) {
        const row = { peer, forward: Infinity, backward: Infinity, step: Infinity };
        row.error = logProbError(work, (await peer.forward())[1]);
        if (!(row.error <= TOLERANCE.logProb)) throw new Error(`${peer.name}: log-probs are off by ${row.error}`);
        const grads = await (peer.backward ?? peer.step)?.();
        if (grads) {
            row.gradError = gradError(work, grads[1]);
            if (!(row.gradError <= TOLERANCE.grad)) throw new Error(`${peer.name}: gradients by ${row.gradError}`);
        }
        found.push(row);
    }
    // The 16-bit types of dpo-kernel: nobody to compare with.
    for (const type of ['f16', 'bf16']) {
        const peer = await ours(work, type);
        const [, logProbs] = await peer.forward();
        // Cut logits move each log-prob by less than an ulp of theirs: 2^-3 at ±10.
        if (!(logProbError(work, logProbs) < 0.13)) throw new Error(`${peer.name}: other log-probs`);
        found.push({ peer, forward: Infinity, backward: Infinity, step: Infinity });
    }
    const perLogit = (time) => time / work.logits.length;
    for (let round = 0; round < rounds; round++) {
        for (const row of found.filter(({ peer }) => !peer.isSlow || round % 8 === 0)) {
            const [forward] = await row.peer.forward();
            row.forward = Math.min(row.forward, perLogit(forward));
            if (row.peer.backward) {
                const [backward] = await row.peer.backward();
                row.backward = Math.min(row.backward, perLogit(backward));
                row.step = row.forward + row.backward;
            } else if (row.peer.step) {
                row.step = Math.min(row.step, perLogit((await row.peer.step())[0]));
            }
        }
    }
    for (const { peer } of found) peer.release?.();
    return found;
}

const { rounds, vocab: only } = options();
console.log(`${os.cpus()[0].model}; Node.js ${process.versions.node}, V8 ${process.versions.v8}; one thread, SIMD`);
console.log('f32; ns per logit, best of %d rounds; in parentheses times as long as dpo-kernel', rounds);
const cell = (time, own) => (time < Infinity ? `${time.toFixed(2)} (${(time / own).toFixed(1)})` : '').padStart(14);
const notes = new Set();
for (const [vocab, rows] of SHAPES.filter(([vocab]) => only === null || only === vocab)) {
    console.log(`\nV = ${vocab}, ${rows} rows`.padEnd(62) + ['forward', 'gradient', 'both', 'error', 'of grad']
        .map((name) => name.padStart(14)).join(''));
    const found = await measure(makeWork(vocab, rows), rounds);
    const [own] = found;
    for (const { peer, forward, backward, step, error, gradError } of found) {
        console.log(peer.name.padEnd(60) + cell(forward, own.forward) + cell(backward, own.backward)
            + cell(step, own.step) + [error, gradError].map((x) => (x?.toExponential(1) ?? '').padStart(14)).join(''));
        if (peer.note) notes.add(peer.note);
    }
    // A run that a host can have: with its copies.
    const peers = found.filter(({ peer }) => peer.copies ?? /TensorFlow/.test(peer.name));
    const fastest = Math.min(...peers.map(({ forward }) => forward));
    const ratio = fastest / own.forward;
    console.log(`forward against the fastest peer: ${ratio.toFixed(1)}; >= ${BAR}: ${ratio < BAR ? 'MISSED' : 'met'}`);
}
console.log(`\n${[...notes].join('\n')}`);
process.exit(0);
