// A DPO step in WebAssembly, in Node.js: from logits to the loss and the logit gradients, beside onnxruntime-web and
// TensorFlow.js.
//
//   node build.mjs && cd bench && npm ci && node bench.mjs
//
// Everybody takes turns on the same f32 logits and keeps the best time of the processor, on one thread. Results are
// checked against f64 first. Options: --rounds N (default 40), --only dpo-kernel for no peers.
//
// What is timed:
//   block            preferenceStep of logits in the module's memory, gradients in their place
//   array            preferenceStep of the caller's own array: copied in, and gradients copied out
//   onnxruntime-web  session.run of the step as a graph, its derivative by hand; a run copies its input in and its
//                    outputs out. Its one build has SIMD.
//   TensorFlow.js    tf.valueAndGrad of the loss over a tensor that lies in the module's memory; nothing is read back
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { load } from '../index.js';
import { BETA, errors, makeWork } from './work.mjs';

const SHAPES = [[64, 32_000, 8], [512, 4_096, 32], [16, 131_072, 8]];
/** Worst relative error of gradients, and absolute of the loss, before somebody counts as doing other work. */
const TOLERANCE = { grads: 2e-3, loss: 1e-3 };

function options() {
    const found = { rounds: 40, only: '' };
    const list = process.argv.slice(2);
    for (let i = 0; i < list.length; i += 2) {
        const name = list[i].replace(/^--/, '');
        const value = name === 'rounds' ? Number(list[i + 1]) : list[i + 1];
        const isValid = name === 'rounds' ? Number.isInteger(value) && value > 0 : value === 'dpo-kernel';
        if (!(name in found && isValid)) {
            console.error(`bench: ${list[i]} ${list[i + 1]}: no such option`);
            process.exit(2);
        }
        found[name] = value;
    }
    return found;
}

/** Nanoseconds of the processor that something takes, so that others on the machine count less; what it gives. */
async function timed(work) {
    const start = process.cpuUsage();
    const result = await work();
    const { user, system } = process.cpuUsage(start);
    return [1e3 * (user + system), result];
}

async function ours(work, simd, losses, inBlock) {
    const dpo = await load({ simd, losses });
    const logits = inBlock ? dpo.alloc(work.logits.length) : new Float32Array(work.logits.length);
    const view = () => (inBlock ? logits.view : logits);
    const { rows, vocab, targets, spans, pairs, reference } = work;
    const batch = { logits, rows, vocab, targets, spans, pairs, reference, loss: { name: 'sigmoid', beta: BETA } };
    return {
        name: `dpo-kernel, ${dpo.build.file}, ${inBlock ? 'block' : 'array'}`,
        async step() {
            view().set(work.logits);
            const [time, found] = await timed(() => dpo.preferenceStep(batch));
            return [time, () => [found.loss, view().slice()]];
        },
    };
}

async function onnx(work) {
    const ort = await import('onnxruntime-web');
    const { stepModel } = await import('./onnx.mjs');
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(stepModel(work), { executionProviders: ['wasm'] });
    const feeds = {
        x: new ort.Tensor('float32', work.logits, [work.rows, work.vocab]),
        t: new ort.Tensor('int64', BigInt64Array.from(work.targets, BigInt), [work.rows, 1]),
    };
    return {
        name: `onnxruntime-web ${ort.env.versions.web}`,
        async step() {
            const [time, found] = await timed(() => session.run(feeds));
            return [time, () => [found.loss.data[0], found.g.data]];
        },
        release: () => session.release(),
    };
}

async function tensorflow(work) {
    const require = createRequire(import.meta.url);
    const tf = require('@tensorflow/tfjs');
    const backend = require('@tensorflow/tfjs-backend-wasm');
    backend.setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);
    backend.setThreadsCount(1);
    await tf.setBackend('wasm');
    if (tf.getBackend() !== 'wasm' || !await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')) {
        throw new Error('TensorFlow.js has no wasm with SIMD here');
    }
    const { rows, vocab, logits, targets, spans, pairs, reference } = work;
    const x = tf.tensor2d(logits, [rows, vocab]);
    const hot = tf.oneHot(tf.tensor1d(Int32Array.from(targets), 'int32'), vocab).toFloat();
    // One matrix for sums over sequences and differences of pairs.
    const signs = new Float32Array(pairs.length * rows);
    pairs.forEach(([chosen, rejected], i) => {
        signs.fill(1, ...spans[chosen].map((row) => i * rows + row));
        signs.fill(-1, ...spans[rejected].map((row) => i * rows + row));
    });
    const sign = tf.tensor2d(signs, [pairs.length, rows]);
    const gaps = tf.tensor2d(pairs.map(([chosen, rejected]) => [reference[chosen] - reference[rejected]]));
    const loss = (x) => {
        const p = tf.sum(tf.mul(tf.logSoftmax(x), hot), 1, true);
        const margins = tf.mul(tf.sub(tf.matMul(sign, p), gaps), -BETA);
        return tf.mean(tf.softplus(margins));
    };
    const both = tf.valueAndGrad(loss);
    return {
        name: `TensorFlow.js ${tf.version_core}`,
        async step() {
            const [time, { value, grad }] = await timed(() => both(x));
            const found = [value.dataSync()[0], grad.dataSync().slice()];
            tf.dispose([value, grad]);
            return [time, () => found];
        },
        release: () => tf.dispose([x, hot, sign, gaps]),
    };
}

async function measure(work, { rounds, only }) {
    const all = [];
    for (const losses of ['all', 'sigmoid']) {
        for (const simd of [true, false]) all.push(await ours(work, simd, losses, true));
    }
    all.push(await ours(work, true, 'all', false));
    if (only === '') all.push(await onnx(work), await tensorflow(work));
    const found = [];
    for (const peer of all) {
        const error = errors(work, ...(await peer.step())[1]());
        if (!(error.grads <= TOLERANCE.grads && error.loss <= TOLERANCE.loss)) {
            throw new Error(`${peer.name}: gradients are off by ${error.grads}, the loss by ${error.loss}`);
        }
        found.push({ peer, error, time: Infinity });
    }
    for (let round = 0; round < rounds; round++) {
        for (const row of found) {
            row.time = Math.min(row.time, (await row.peer.step())[0] / work.logits.length);
        }
    }
    found.forEach(({ peer }) => peer.release?.());
    return found;
}

const given = options();
console.log(`${os.cpus()[0].model}; Node.js ${process.versions.node}, V8 ${process.versions.v8}; one thread`);
for (const [rows, vocab, sequences] of SHAPES) {
    console.log(`\n${rows} x ${vocab}: best of ${given.rounds} rounds`.padEnd(46)
        + ['ns a logit', 'Mlogits/s', 'times', 'error', 'of the loss'].map((name) => name.padStart(13)).join(''));
    const found = await measure(makeWork(rows, vocab, sequences), given);
    const [own] = found;
    for (const { peer, error, time } of found) {
        console.log(peer.name.padEnd(45) + [time.toFixed(2), (1e3 / time).toFixed(0), (time / own.time).toFixed(2),
            error.grads.toExponential(1), error.loss.toExponential(1)].map((cell) => cell.padStart(13)).join(''));
    }
}
process.exit(0);
