// @ts-check
// The module and what it says, for page and worker alike. See rust/src/exports.rs.

/** Why a call did nothing, by its number there. */
export const FAILURES = /** @type {const} */ ({
    1: 'refused', 2: 'no such loss', 3: 'not finite', 4: 'bytes', 5: 'nothing yet', 6: 'no pairs', 7: 'other',
    8: 'too many pairs', 9: 'β is given, but the loss has none',
});

export class Failure extends Error {
    /** @param {number} code @param {number[]} numbers */
    constructor(code, numbers) {
        super(FAILURES[/** @type {keyof typeof FAILURES} */ (code)] ?? 'other');
        this.code = code;
        this.numbers = numbers;
    }
}

// A function that splats 0 over a v128 and takes the lane back: valid where simd128 is.
const SIMD = new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

/** Whether this browser has simd128. */
export const hasSimd = () => WebAssembly.validate(SIMD);

/** @param {string} name @returns {Promise<WebAssembly.Exports>} */
async function exportsOf(name) {
    const response = await fetch(new URL(name, import.meta.url));
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    const { instance } = await WebAssembly.instantiate(await response.arrayBuffer());
    return instance.exports;
}

/** @typedef {(...numbers: number[]) => number} Call */

/** The page's module. */
export class Module {
    /** @param {WebAssembly.Exports} exports @param {string} name */
    constructor(exports, name) {
        this.exports = /** @type {Record<string, Call>} */ (/** @type {unknown} */ (exports));
        this.memory = /** @type {WebAssembly.Memory} */ (exports.memory);
        this.name = name;
    }

    /** The build that this browser runs, or one by name. @param {string} [name] */
    static async load(name = hasSimd() ? 'page.simd.wasm' : 'page.wasm') {
        return new Module(await exportsOf(name), name);
    }

    /** @param {string} name @param {...number} values @returns {number[]} what the call leaves */
    call(name, ...values) {
        const code = this.exports[name](...values);
        const [at, length] = [this.exports.out(), this.exports.out_length()];
        const numbers = [...new Float64Array(this.memory.buffer, at, length)];
        if (code !== 0) throw new Failure(code, numbers);
        return numbers;
    }

    /** @param {readonly number[]} values */
    numbers(values) {
        const at = this.exports.numbers(values.length);
        if (at === 0) throw new Error(`${values.length} numbers are more than this page can hold`);
        new Float64Array(this.memory.buffer, at, values.length).set(values);
    }

    /** @param {Uint8Array} bytes */
    bytes(bytes) {
        const at = this.exports.bytes(bytes.length);
        if (at === 0) throw new Error(`${bytes.length} bytes are more than this page can hold`);
        new Uint8Array(this.memory.buffer, at, bytes.length).set(bytes);
    }

    text() {
        const [at, length] = [this.exports.text(), this.exports.text_length()];
        return new TextDecoder().decode(new Uint8Array(this.memory.buffer, at, length));
    }

    /**
     * Steps 1 to 3. @param {readonly number[]} reference @param {readonly number[]} rewards
     * @param {readonly number[]} policy @param {number} beta
     */
    answers(reference, rewards, policy, beta) {
        const n = rewards.length;
        this.numbers([...reference, ...rewards, ...policy]);
        const found = this.call('answers', n, beta);
        const [objective, maximum, logPartition, expectedReward] = found;
        const list = (/** @type {number} */ index) => found.slice(4 + index * n, 4 + (index + 1) * n);
        return { objective, maximum, logPartition, expectedReward, optimum: list(0), ratios: list(1), implied: list(2) };
    }

    /** Step 4. @param {number} chosen @param {number} rejected */
    preference(chosen, rejected) {
        return this.call('preference', chosen, rejected)[1];
    }

    /** Step 5, from log-ratios. @param {number} beta @param {number} chosen @param {number} rejected */
    pair(beta, chosen, rejected) {
        const [loss, margin, dChosen, dRejected] = this.call('pair', beta, chosen, rejected);
        return { loss, margin, dChosen, dRejected };
    }
}

/**
 * Pairs of a file, packed for `set_pairs`. The module is made anew each time: it never gives back memory.
 * @param {Uint8Array} file @param {string} name @returns {Promise<Uint8Array>}
 */
export async function readPairs(file, name) {
    const exports = await exportsOf('reader.wasm');
    const calls = /** @type {Record<string, Call>} */ (/** @type {unknown} */ (exports));
    const memory = /** @type {WebAssembly.Memory} */ (exports.memory);
    const title = new TextEncoder().encode(name);
    const at = calls.bytes(file.length + title.length);
    if (at === 0) throw new Error(`${name}: ${file.length} bytes are more than this page can hold`);
    const room = new Uint8Array(memory.buffer, at, file.length + title.length);
    room.set(file);
    room.set(title, file.length);
    if (calls.read(file.length) === 1) {
        return new Uint8Array(memory.buffer, calls.packed(), calls.packed_length()).slice();
    }
    throw new Error(new TextDecoder().decode(new Uint8Array(memory.buffer, calls.error(), calls.error_length())));
}
