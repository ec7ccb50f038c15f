// Which build runs, and where its bytes come from.
import { refuse } from './arrays.js';
import { DpoError } from './errors.js';

/** A module of one function that is valid where simd128 is. */
const SIMD = Uint8Array.of(
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);

/** Whether this machine runs the builds with simd128. */
export function hasSimd() {
    return WebAssembly.validate(SIMD);
}

/** @param {string} type @param {string} losses @param {boolean} simd */
export function fileOf(type, losses, simd) {
    return [type, losses === 'all' ? '' : `.${losses}`, simd ? '.simd' : '', '.wasm'].join('');
}

/**
 * The compiled module of a file.
 * @param {string} file
 * @param {((file: string) => any) | undefined} source
 * @returns {Promise<WebAssembly.Module>}
 */
export async function compile(file, source) {
    if (source !== undefined && typeof source !== 'function') refuse(`source is ${String(source)}: not a function`);
    const found = await (source ? source(file) : new URL(`../dist/${file}`, import.meta.url));
    if (found instanceof WebAssembly.Module) return found;
    if (ArrayBuffer.isView(found) || found instanceof ArrayBuffer) {
        return WebAssembly.compile(/** @type {BufferSource} */ (found));
    }
    const isUrl = found instanceof URL || typeof found === 'string';
    if (isUrl && String(found).startsWith('file:')) {
        const { readFile } = await import('node:fs/promises');
        return WebAssembly.compile(await readFile(new URL(found)));
    }
    const response = isUrl ? await fetch(found) : found;
    if (typeof Response === 'undefined' || !(response instanceof Response)) {
        throw new DpoError('Argument', `source gave neither an address, bytes, a Response nor a module for ${file}`);
    }
    if (!response.ok) throw new DpoError('Fetch', `${response.url}: ${response.status} ${response.statusText}`);
    return WebAssembly.compile(await response.arrayBuffer());
}
