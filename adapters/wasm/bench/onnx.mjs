// The step as a graph of ONNX, written by hand: fields of protocol buffers, by their numbers in onnx.proto.
import { BETA } from './work.mjs';

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
const attribute = (name, n) => message(5, text(1, name), int(3, n), int(20, 2));
const node = (operator, inputs, output, ...attributes) => message(
    1, ...inputs.map((name) => text(1, name)), text(2, output), text(4, operator), ...attributes);
const value = (field, name, type, shape) => message(
    field, text(1, name), message(2, message(1, int(1, type), message(2, ...shape.map((n) => message(1, int(1, n)))))));
const tensor = (name, shape, type, data) => message(
    5, ...shape.map((n) => int(1, n)), int(2, type), text(8, name), bytes(9, Buffer.from(data.buffer)));

/**
 * Logits x [R, V], targets t [R, 1] → loss [1, 1] and gradients g [R, V]: log-softmax, sums over sequences by a
 * matrix of 0 and 1, the loss, and its derivative by hand, because the runtime has none. Opset 13.
 * @param {ReturnType<typeof import('./work.mjs').makeWork>} work
 */
export function stepModel({ rows, vocab, spans, pairs, reference }) {
    const of = new Float32Array(spans.length * rows);
    spans.forEach(([start, end], i) => of.fill(1, i * rows + start, i * rows + end));
    const sign = new Float32Array(pairs.length * spans.length);
    pairs.forEach(([chosen, rejected], i) => {
        sign[i * spans.length + chosen] = 1;
        sign[i * spans.length + rejected] = -1;
    });
    const gaps = Float32Array.from(pairs, ([chosen, rejected]) => reference[chosen] - reference[rejected]);
    const graph = [
        node('LogSoftmax', ['x'], 'y', attribute('axis', -1)),
        node('GatherElements', ['y', 't'], 'p', attribute('axis', -1)),
        node('MatMul', ['of', 'p'], 's'),
        node('MatMul', ['sign', 's'], 'gap'),
        node('Sub', ['gap', 'gaps'], 'm'),
        node('Mul', ['m', 'minus_beta'], 'z'),
        node('Softplus', ['z'], 'each'),
        node('ReduceMean', ['each'], 'loss', attribute('keepdims', 1)),
        node('Sigmoid', ['z'], 'sigma'),
        node('Mul', ['sigma', 'minus_beta_each'], 'dz'),
        node('Transpose', ['sign'], 'sign_t'),
        node('MatMul', ['sign_t', 'dz'], 'ds'),
        node('Transpose', ['of'], 'of_t'),
        node('MatMul', ['of_t', 'ds'], 'c'),
        node('Exp', ['y'], 'e'),
        node('OneHot', ['flat', 'depth', 'values'], 'hot', attribute('axis', -1)),
        node('Reshape', ['t', 'row_count'], 'flat'),
        node('Sub', ['hot', 'e'], 'd'),
        node('Mul', ['c', 'd'], 'g'),
    ];
    // In an order in which each is made before it is read.
    graph.splice(15, 2, graph[16], graph[15]);
    return Buffer.concat([
        int(1, 7), message(7, ...graph, text(2, 'dpo'),
            tensor('of', [spans.length, rows], FLOAT, of), tensor('sign', [pairs.length, spans.length], FLOAT, sign),
            tensor('gaps', [pairs.length, 1], FLOAT, gaps), tensor('minus_beta', [1], FLOAT, Float32Array.of(-BETA)),
            tensor('minus_beta_each', [1], FLOAT, Float32Array.of(-BETA / pairs.length)),
            tensor('depth', [1], INT64, BigInt64Array.of(BigInt(vocab))),
            tensor('values', [2], FLOAT, Float32Array.of(0, 1)),
            tensor('row_count', [1], INT64, BigInt64Array.of(BigInt(rows))),
            value(11, 'x', FLOAT, [rows, vocab]), value(11, 't', INT64, [rows, 1]),
            value(12, 'loss', FLOAT, [1, 1]), value(12, 'g', FLOAT, [rows, vocab])),
        message(8, text(1, ''), int(2, 13))]);
}
