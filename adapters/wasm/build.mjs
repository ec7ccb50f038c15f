// Builds the modules of dist/: for each type of logits, with all losses or `sigmoid` alone, with and without simd128.
//
//   rustup target add wasm32-unknown-unknown
//   node build.mjs [FILE...]        as f32.simd.wasm; all of them if none is named
//
// wasm-opt (binaryen) takes a quarter off where it is on PATH.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { fileOf } from './js/load.js';

const here = path.dirname(fileURLToPath(import.meta.url));
const TARGET = 'wasm32-unknown-unknown';
// What V8, SpiderMonkey and JavaScriptCore have had for longer than simd128.
const FEATURES = ['bulk-memory', 'nontrapping-float-to-int', 'sign-ext', 'mutable-globals', 'multivalue',
    'reference-types'];

/** @type {{ type: string, losses: 'all' | 'sigmoid', simd: boolean, file: string }[]} */
export const BUILDS = ['f32', 'f16', 'bf16'].flatMap((type) =>
    /** @type {const} */ (['all', 'sigmoid']).flatMap((losses) =>
        [false, true].map((simd) => ({ type, losses, simd, file: fileOf(type, losses, simd) }))));

/** @param {string} command @param {string[]} args @param {object} [environment] */
function run(command, args, environment = {}) {
    const done = spawnSync(command, args, { cwd: here, env: { ...process.env, ...environment }, stdio: 'inherit' });
    if (done.error) throw done.error;
    if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${done.status}`);
}

/** @param {typeof BUILDS[number]} build @param {string} targetDir @param {boolean} optimise */
export function build({ type, losses, simd, file }, targetDir, optimise) {
    const features = losses === 'all' ? `${type},losses` : type;
    // What must be inlined says so in the library; the rest is as fast when it is not, and smaller.
    const flags = `-Ctarget-feature=${simd ? '+' : '-'}simd128 -Cllvm-args=-inline-threshold=8`;
    // Without simd128 lanes are loops, as fast at 's' as at 3, and half as fast at 'z'. With it 's' takes four times
    // as long as 3, and 2, which leaves more loops rolled, a quarter more.
    const level = simd ? { all: '3', sigmoid: '2' }[losses] : 's';
    run('cargo', ['build', '--quiet', '--locked', '--release', '--lib', '--features', features, '--target', TARGET,
        '--target-dir', targetDir], { RUSTFLAGS: flags, CARGO_PROFILE_RELEASE_OPT_LEVEL: level });
    const made = path.join(targetDir, TARGET, 'release', 'dpo_kernel_wasm.wasm');
    const to = path.join(here, 'dist', file);
    mkdirSync(path.dirname(to), { recursive: true });
    if (optimise) {
        const enabled = [...FEATURES, ...(simd ? ['simd'] : [])].map((name) => `--enable-${name}`);
        run('wasm-opt', ['-Oz', '--strip-debug', '--strip-producers', ...enabled, made, '-o', to]);
    } else {
        copyFileSync(made, to);
    }
    return statSync(to).size;
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
    const args = process.argv.slice(2);
    const targetDir = path.resolve(process.env.CARGO_TARGET_DIR ?? path.join(here, 'target'));
    const unknown = args.filter((name) => !BUILDS.some(({ file }) => file === name));
    if (unknown.length > 0) {
        const all = BUILDS.map(({ file }) => file).join(', ');
        console.error(`build: no such file: ${unknown.join(', ')}; there are ${all}`);
        process.exit(2);
    }
    const optimise = !spawnSync('wasm-opt', ['--version']).error;
    if (!optimise) console.error('build: no wasm-opt on PATH: the modules are larger than they need be');
    for (const it of BUILDS.filter(({ file }) => args.length === 0 || args.includes(file))) {
        console.log(`${it.file.padEnd(24)} ${build(it, targetDir, optimise)} bytes`);
    }
}
