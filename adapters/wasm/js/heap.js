// The module's memory: blocks that the caller keeps, and the frame that a call works in.
import { DpoError } from './errors.js';

/**
 * What is used of the module's exports here.
 * @typedef {{ memory: WebAssembly.Memory, allocate(bytes: number): number,
 *     release(at: number, bytes: number): void }} Allocator
 */

/** @param {Allocator} wasm @param {number} bytes */
function allocate(wasm, bytes) {
    const at = bytes < 2 ** 31 ? wasm.allocate(bytes) >>> 0 : 0;
    if (at === 0) throw new DpoError('OutOfMemory', `no memory for a block of ${bytes} bytes`, { bytes });
    return at;
}

/**
 * Logits in the module's memory. Nothing is copied where a call is given a block.
 * @template {Float32Array | Uint16Array} T
 */
export class Block {
    /** @type {Allocator} */
    #wasm;
    /** @type {new (memory: ArrayBuffer, at: number, length: number) => T} */
    #type;
    #at;
    #length;
    /** Of whom this is a part. @type {Block<T> | null} */
    #whole;
    #bytes;

    /**
     * @param {Allocator} wasm
     * @param {any} type
     * @param {number} length
     * @param {{ whole: Block<T>, at: number } | null} part
     */
    constructor(wasm, type, length, part = null) {
        this.#wasm = wasm;
        this.#type = type;
        this.#length = length;
        this.#whole = part?.whole ?? null;
        this.#bytes = Math.max(1, length * type.BYTES_PER_ELEMENT);
        this.#at = part?.at ?? allocate(wasm, this.#bytes);
    }

    /** How many elements. */
    get length() {
        return this.#length;
    }

    /**
     * The elements. Ask for it anew after each call, `alloc` included: when the module's memory grows,
     * every view of it is lost (its length is 0 then), while the elements are not.
     * @returns {T}
     */
    get view() {
        return new this.#type(this.#wasm.memory.buffer, this.address(this.#wasm), this.#length);
    }

    /**
     * Some of the elements, in the same memory, as for a micro-batch. It lives as long as the whole.
     * @param {number} begin @param {number} [end]
     * @returns {Block<T>}
     */
    subblock(begin, end = this.#length) {
        if (!(Number.isInteger(begin) && Number.isInteger(end) && 0 <= begin && begin <= end && end <= this.#length)) {
            throw new DpoError('Argument', `[${begin}, ${end}) lies outside a block of ${this.#length}`);
        }
        const at = this.address(this.#wasm) + begin * /** @type {any} */ (this.#type).BYTES_PER_ELEMENT;
        return new Block(this.#wasm, this.#type, end - begin, { whole: this, at });
    }

    /** Gives the memory back; the block and its parts are of no use then. Once is enough. */
    free() {
        if (this.#whole !== null) throw new DpoError('Argument', 'a part of a block: free the whole');
        if (this.#at !== 0) this.#wasm.release(this.#at, this.#bytes);
        this.#at = 0;
    }

    /** Where it is. @param {Allocator} wasm the module that asks @returns {number} @package */
    address(wasm) {
        if (wasm !== this.#wasm) throw new DpoError('ForeignBlock', 'the block is of another module');
        this.#whole?.address(wasm);
        if (this.#at === 0) throw new DpoError('Freed', 'the block was freed');
        return this.#at;
    }
}

/** The memory of one call: placed first, so that memory grows at most once, and before anything is written. */
export class Frame {
    /** @param {Allocator} wasm */
    constructor(wasm) {
        this.wasm = wasm;
        this.capacity = 0;
        this.at = 0;
        this.used = 0;
        /** @type {[number, ArrayBufferView][]} */
        this.sources = [];
    }

    /** Forgets the last call. */
    clear() {
        this.used = 0;
        this.sources = [];
        return this;
    }

    /** Room for so many bytes; where they begin, from the frame's start. @param {number} bytes */
    room(bytes) {
        const offset = this.used;
        this.used += Math.ceil(Math.max(1, bytes) / 16) * 16;
        return offset;
    }

    /** Room for a copy. @param {ArrayBufferView} source */
    copy(source) {
        const offset = this.room(source.byteLength);
        this.sources.push([offset, source]);
        return offset;
    }

    /** Has the memory, and copies what is to be there. */
    commit() {
        if (this.used > this.capacity) {
            if (this.capacity > 0) this.wasm.release(this.at, this.capacity);
            this.capacity = 0;
            this.at = allocate(this.wasm, this.used);
            this.capacity = this.used;
        }
        for (const [offset, { buffer, byteOffset, byteLength }] of this.sources) {
            this.bytes(offset, byteLength).set(new Uint8Array(buffer, byteOffset, byteLength));
        }
    }

    /** @param {number} offset @param {number} length */
    bytes(offset, length) {
        return new Uint8Array(this.wasm.memory.buffer, this.at + offset, length);
    }

    /**
     * A copy of an array.
     * @template T
     * @param {{ new (buffer: ArrayBuffer): T, BYTES_PER_ELEMENT: number }} type
     * @param {number} offset @param {number} length
     * @returns {T}
     */
    read(type, offset, length) {
        return new type(this.bytes(offset, length * type.BYTES_PER_ELEMENT).slice().buffer);
    }
}
