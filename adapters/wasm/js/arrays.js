// What a caller gives: numbers and arrays, checked and made plain before the module sees them.
import { DpoError } from './errors.js';

/** @typedef {ArrayLike<number>} Numbers */
/** @typedef {Numbers | ArrayLike<readonly number[]> | readonly (readonly number[])[]} Rows */

const MOST = 2 ** 32 - 1;

/** @param {string} message @returns {never} */
export function refuse(message) {
    throw new DpoError('Argument', message);
}

/** An integer of 32 bits. @param {unknown} value @param {string} name */
export function count(value, name) {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > MOST) {
        refuse(`${name} is ${String(value)}: not an integer from 0 to ${MOST}`);
    }
    return value;
}

/** A number, NaN and infinities too: the library judges them. @param {unknown} value @param {string} name */
export function number(value, name) {
    if (typeof value !== 'number') refuse(`${name} is ${String(value)}: not a number`);
    return value;
}

/**
 * The fields of an object, none of which is unknown.
 * @param {unknown} object @param {string} name @param {readonly string[]} known
 * @returns {Record<string, any>}
 */
export function fields(object, name, known) {
    if (object === null || typeof object !== 'object') refuse(`${name} is ${String(object)}: not an object`);
    for (const key of Object.keys(object)) {
        if (!known.includes(key)) refuse(`${name} has no field ${key}: ${known.join(', ')}`);
    }
    return /** @type {Record<string, any>} */ (object);
}

/** @param {ArrayBufferView} view */
function isDetached(view) {
    try {
        return new Uint8Array(view.buffer, 0, 0).length !== 0;
    } catch {
        return true;
    }
}

/**
 * An array, neither a view of the module's memory nor one whose memory is gone: both would be lost, or
 * are, when the memory grows.
 * @param {any} value @param {string} name @param {ArrayBufferLike} memory
 * @returns {any}
 */
export function array(value, name, memory) {
    if (!Array.isArray(value) && !(ArrayBuffer.isView(value) && !(value instanceof DataView))) {
        refuse(`${name} is ${value === null ? 'null' : typeof value}: not an array or typed array`);
    }
    if (ArrayBuffer.isView(value)) {
        if (isDetached(value)) {
            throw new DpoError('Detached', `${name}: the array's memory is gone, moved elsewhere or grown`);
        }
        if (value.buffer === memory) {
            throw new DpoError('ModuleMemory', `${name} is a view of the module's memory, which is lost when that `
                + 'grows: give the block itself, or a copy');
        }
    }
    return value;
}

/**
 * Numbers with a fraction, as f32 or f64.
 * @template {Float32Array | Float64Array} T
 * @param {any} value @param {string} name @param {ArrayBufferLike} memory @param {new (length: number) => T} type
 * @returns {T}
 */
export function floats(value, name, memory, type) {
    const from = array(value, name, memory);
    if (from instanceof BigInt64Array || from instanceof BigUint64Array) refuse(`${name} holds big integers`);
    const to = new type(from.length);
    for (let i = 0; i < from.length; i++) to[i] = number(from[i], `${name}[${i}]`);
    return to;
}

/**
 * Indices.
 * @param {any} value @param {string} name @param {ArrayBufferLike} memory
 */
export function indices(value, name, memory) {
    const from = array(value, name, memory);
    const to = new Uint32Array(from.length);
    for (let i = 0; i < from.length; i++) to[i] = count(from[i], `${name}[${i}]`);
    return to;
}

/**
 * Couples of integers, as [a, b] each or flat, one after another; the second may have a sign.
 * @param {any} value @param {string} name @param {ArrayBufferLike} memory
 * @param {(value: unknown, name: string) => number} second
 */
export function couples(value, name, memory, second = count) {
    const from = array(value, name, memory);
    const isFlat = from.length === 0 || !Array.isArray(from[0]);
    if (isFlat && from.length % 2 !== 0) refuse(`${name} has ${from.length} numbers: not two each`);
    const length = isFlat ? from.length / 2 : from.length;
    const to = new Uint32Array(2 * length);
    for (let i = 0; i < length; i++) {
        const couple = isFlat ? [from[2 * i], from[2 * i + 1]] : array(from[i], `${name}[${i}]`, memory);
        if (couple.length !== 2) refuse(`${name}[${i}] has ${couple.length} numbers: not two`);
        to[2 * i] = count(couple[0], `${name}[${i}]`);
        to[2 * i + 1] = second(couple[1], `${name}[${i}]`);
    }
    return to;
}

/** A label: any integer of 32 bits with a sign; the library judges it. @param {unknown} value @param {string} name */
export function label(value, name) {
    if (typeof value !== 'number' || (value | 0) !== value) {
        refuse(`${name} has the label ${String(value)}: not an integer of 32 bits`);
    }
    return value >>> 0;
}

/**
 * Targets, as token ids, or labels with -100 (or `ignore`) where a row is not scored: numbers, or the
 * 64 bits of ONNX Runtime's tensors.
 * @param {any} value @param {ArrayBufferLike} memory
 */
export function targets(value, memory) {
    const from = array(value, 'targets', memory);
    const to = new Uint32Array(from.length);
    for (let i = 0; i < from.length; i++) to[i] = target(from[i], `targets[${i}]`);
    return to;
}

/** A target as 32 bits: negative ones with their sign. @param {unknown} value @param {string} name */
export function target(value, name) {
    const id = typeof value === 'bigint' ? Number(value) : value;
    if (typeof id !== 'number' || !Number.isInteger(id) || id < -(2 ** 31) || id > MOST) {
        refuse(`${name} is ${String(value)}: not an integer of 32 bits`);
    }
    return id >>> 0;
}
