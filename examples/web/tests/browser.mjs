// What the tests share: the folder, a server, a browser, and the native program.
//
//     DPO_WEB_DIST     the folder that `build` made, dist unless named
//     DPO_WEB_NATIVE   the program `dpo-kernel-web`, rust/target/release/dpo-kernel-web unless named
//     CHROMIUM         /usr/bin/chromium unless named
import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const here = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
export const dist = path.resolve(process.env.DPO_WEB_DIST ?? path.join(here, 'dist'));
const program = path.resolve(process.env.DPO_WEB_NATIVE ?? path.join(here, 'rust/target/release/dpo-kernel-web'));

/** What the program prints, or what it complains of. */
export function native(...args) {
    const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', cwd: dist });
    if (error) throw error;
    return { status, out: stdout.trim(), wrong: stderr.trim() };
}

/** The numbers that it prints. */
export function numbers(...args) {
    const { status, out, wrong } = native(...args.map(String));
    if (status !== 0) throw new Error(`${args.join(' ')}: ${wrong}`);
    return out.split(' ').map(Number);
}

/** The digest after so many steps. */
export function digest(steps, ...options) {
    const { status, out, wrong } = native('run', '--base', 'base.bin', '--data', 'pairs.jsonl', '--steps', String(steps),
        '--every', '1000', ...options);
    if (status !== 0) throw new Error(wrong);
    return new RegExp(`step +${steps} .*digest ([0-9a-f]{16})`).exec(out)[1];
}

/** The folder on a port of this machine; stops with the tests. */
async function serve() {
    const server = spawn('python3', [path.join(here, 'serve'), '--no-build', '--port', '0', '--folder', dist],
        { stdio: ['ignore', 'pipe', 'ignore'] });
    const address = await new Promise((resolve, reject) => {
        server.stdout.once('data', line => resolve(String(line).trim()));
        server.once('exit', code => reject(new Error(`serve ended with ${code}`)));
    });
    return { address, stop: () => server.kill() };
}

/** A browser on the page. `open` makes a page that fails the test on any complaint of its console. */
export async function browse() {
    const server = await serve();
    const browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'],
    });
    const complaints = [];
    const open = async ({ query = '', hash = '', ...options } = {}) => {
        const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', ...options });
        const page = await context.newPage();
        page.on('console', message => message.type() === 'error' && complaints.push(message.text()));
        page.on('pageerror', error => complaints.push(error.message));
        page.on('request', request => request.url().startsWith(server.address) || request.url().startsWith('data:')
            || complaints.push(`asked for ${request.url()}`));
        await page.goto(`${server.address}${query}${hash}`);
        await page.waitForSelector('body[data-ready]');
        await page.waitForFunction(() => document.getElementById('status').textContent === 'Ready.');
        return page;
    };
    const close = async () => {
        await browser.close();
        server.stop();
    };
    return { open, close, complaints, address: server.address };
}

/** Waits until the panel's status says so. */
export const status = (page, words) =>
    page.waitForFunction(words => document.getElementById('status').textContent.startsWith(words), words, { timeout: 90_000 });
