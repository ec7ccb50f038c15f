// @ts-check
// The model and its run, away from the page's thread.
import { Failure, Module, readPairs } from './wasm.js';

/** @typedef {{ loss: string, beta: number, rate: number, longer: boolean, seed: number }} Settings */
/** @typedef {{ pairs: number, correct: number, loss: number, chosen: number, rejected: number }} Side */
/** @typedef {{ step: number, train: Side, heldOut: Side, lengths: { reference: number, policy: number, chosen: number, rejected: number }, digest: string }} Figures */
/** @typedef {{ prompt: string, reference: string, policy: string }[]} Samples */
/** @typedef {{ train: number, heldOut: number, cut: number, replaced: number, leftOut: number }} Counts */
/** Pairs by the name of their file, or '' for the page's own; `typed` ones are in no file yet. @typedef {{ name: string, typed: boolean }} Source */
/** Each run has a number, which all that is asked and told of it carries.
 * @typedef {{ type: 'start', run: number, settings: Settings, steps: number } | { type: 'pause', run: number }
 *   | { type: 'resume', run: number, steps: number } | { type: 'pairs', bytes: Uint8Array, source: Source } | { type: 'built-in' }} Asked */
/** @typedef {{ type: 'started', run: number, counts: Counts, source: Source } | { type: 'figures', run: number, figures: Figures }
 *   | { type: 'samples', run: number, samples: Samples } | { type: 'stopped', run: number, done: boolean }
 *   | { type: 'failed', run: number, why: string }} OfRun */
/** @typedef {OfRun | { type: 'ready', module: string, speed: number, counts: Counts } | { type: 'pairs', counts: Counts, source: Source }
 *   | { type: 'refused', why: string } | { type: 'broken', why: string }} Told */

/** Steps between two looks at all pairs. */
const EVERY = 4;
/** Milliseconds that a step takes at least, so that a person sees it. */
const PACE = 25;
const SAMPLES = 6;

/** @type {Module} */
let module;
/** @type {Uint8Array} */
let builtIn;
/** The pairs that the next run starts with. @type {{ counts: Counts, source: Source }} */
let pairs;
/** The run that the module has; a loop of another one ends at its next turn. */
let current = 0;
let running = false;
let until = 0;

const tell = (/** @type {Told} */ told) => postMessage(told);

/** @param {string} name */
async function bytesOf(name) {
    const response = await fetch(new URL(name, import.meta.url));
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
}

const OWN = { name: '', typed: false };

/** @param {Uint8Array} packed @param {Source} source */
function setPairs(packed, source) {
    module.bytes(packed);
    const [train, heldOut, cut, replaced, leftOut] = module.call('set_pairs');
    pairs = { counts: { train, heldOut, cut, replaced, leftOut }, source };
    return pairs;
}

/**
 * The page's own pairs, packed here: the reader is fetched by those who bring a file.
 * @param {Uint8Array} file
 */
function packed(file) {
    const lines = new TextDecoder().decode(file).trimEnd().split('\n');
    const texts = lines.map(line => JSON.parse(line)).flatMap(({ prompt, chosen, rejected }) => [prompt, chosen, rejected]);
    const bytes = texts.flatMap(text => {
        const encoded = new TextEncoder().encode(text);
        return [...new Uint8Array(new Uint32Array([encoded.length]).buffer), ...encoded];
    });
    return new Uint8Array(bytes);
}

/** Millions of logits a second, forward and backward. */
function speed() {
    const [rows, vocab] = [16, 8192];
    module.call('bench', rows, vocab);
    let best = Infinity;
    const end = performance.now() + 200;
    while (performance.now() < end) {
        const start = performance.now();
        for (let i = 0; i < 4; i++) module.call('bench', rows, vocab);
        best = Math.min(best, (performance.now() - start) / 4);
    }
    return (rows * vocab) / best / 1000;
}

function figures() {
    const [step, ...rest] = module.call('figures');
    const side = (/** @type {number} */ at) => {
        const [pairs, correct, loss, chosen, rejected] = rest.slice(at, at + 5);
        return { pairs, correct, loss, chosen, rejected };
    };
    const [reference, policy, chosen, rejected] = rest.slice(10);
    const [high, low] = module.call('digest');
    const digest = ((BigInt(high) << 32n) + BigInt(low)).toString(16).padStart(16, '0');
    return { step, train: side(0), heldOut: side(5), lengths: { reference, policy, chosen, rejected }, digest };
}

function samples() {
    const count = Math.min(SAMPLES, module.call('figures')[15]);
    const draw = (/** @type {number} */ index, /** @type {number} */ policy) => {
        const [length] = module.call('sample', index, policy, 1);
        const text = module.text();
        return [text.slice(0, length), text.slice(length)];
    };
    return Array.from({ length: count }, (_, index) => {
        const [prompt, reference] = draw(index, 0);
        return { prompt, reference, policy: draw(index, 1)[1] };
    });
}

/** @param {unknown} error */
function why(error) {
    if (!(error instanceof Failure)) return error instanceof Error ? error.message : String(error);
    switch (error.code) {
        case 1: return `A parameter is refused: ${error.numbers[0]}. β and the learning rate are finite numbers above 0.`;
        case 3: return 'The model’s numbers are no longer finite: start again with a smaller learning rate.';
        case 8: return `${error.numbers[0]} pairs are too many for this page: it takes ${error.numbers[1]} at most.`;
        case 6: return 'No pair is left to train on: answers are empty, or equal as the model reads them, or there is one prompt alone.';
        default: return `The module says: ${error.message}.`;
    }
}

async function run() {
    if (running) return;
    running = true;
    const mine = current;
    try {
        let step = module.call('figures')[0];
        while (running && step < until) {
            const start = performance.now();
            [step] = module.call('step');
            if (step % EVERY === 0 || step === until) tell({ type: 'figures', run: mine, figures: figures() });
            if (step % 20 === 0) tell({ type: 'samples', run: mine, samples: samples() });
            await new Promise(resolve => setTimeout(resolve, Math.max(0, PACE - (performance.now() - start))));
            // The module has another run by now, and `running` is that one's.
            if (mine !== current) return;
        }
        tell({ type: 'figures', run: mine, figures: figures() });
        tell({ type: 'samples', run: mine, samples: samples() });
        tell({ type: 'stopped', run: mine, done: step >= until });
    } catch (error) {
        tell({ type: 'failed', run: mine, why: why(error) });
    }
    running = false;
}

/** @param {number} number @param {Settings} settings @param {number} steps */
async function start(number, { loss, beta, rate, longer, seed }, steps) {
    current = number;
    running = false;
    try {
        module.bytes(new TextEncoder().encode(loss));
        module.call('start', beta, rate, longer ? 1 : 0, seed);
        until = steps;
        tell({ type: 'started', run: number, ...pairs });
        tell({ type: 'figures', run: number, figures: figures() });
        tell({ type: 'samples', run: number, samples: samples() });
    } catch (error) {
        tell({ type: 'failed', run: number, why: why(error) });
        return;
    }
    await run();
}

/** Pairs are taken in the order in which they were asked for. */
let last = Promise.resolve();

/** @param {() => Promise<Uint8Array>} read @param {Source} source */
function take(read, source) {
    last = last.then(async () => {
        try {
            tell({ type: 'pairs', ...setPairs(await read(), source) });
        } catch (error) {
            tell({ type: 'refused', why: why(error) });
        }
    });
}

// The page asks for nothing before it is told that all is ready.
addEventListener('message', event => {
    const asked = /** @type {Asked} */ (event.data);
    if (asked.type === 'start') start(asked.run, asked.settings, asked.steps);
    else if (asked.type === 'pairs') take(() => readPairs(asked.bytes, asked.source.name), asked.source);
    else if (asked.type === 'built-in') take(async () => builtIn, OWN);
    else if (asked.run !== current) return;
    else if (asked.type === 'pause') running = false;
    else {
        until = Math.max(until, asked.steps);
        run();
    }
});

try {
    const wanted = new URL(import.meta.url).searchParams.get('module');
    module = await Module.load(wanted ?? undefined);
    const [base, text] = await Promise.all([bytesOf('base.bin'), bytesOf('pairs.jsonl')]);
    module.bytes(base);
    module.call('set_model');
    builtIn = packed(text);
    tell({ type: 'ready', module: module.name, speed: speed(), counts: setPairs(builtIn, OWN).counts });
} catch (error) {
    tell({ type: 'broken', why: why(error) });
}
