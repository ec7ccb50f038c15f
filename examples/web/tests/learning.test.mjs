// The model that learns: digests, pause and resume, both modules, files that are no pairs.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { browse, digest, dist, native, status } from './browser.mjs';

let browser;
before(async () => { browser = await browse(); });
after(async () => {
    await browser.close();
    assert.deepEqual(browser.complaints, [], 'the console is silent, and nothing else is asked for');
});

const printed = page => page.textContent('#digest');
const curve = (page, chart) => page.$$eval(`#chart-${chart} figcaption span span`, parts => parts.map(part => Number(part.dataset.value)));

test('a run ends at the digest that this machine computes, with and without simd128', async () => {
    const expected = digest(100, '--loss', 'sigmoid', '--beta', '0.1', '--rate', '0.0007');
    for (const module of ['page.simd.wasm', 'page.wasm']) {
        const page = await browser.open({ query: `?module=${module}` });
        assert.match(await page.textContent('#module'), new RegExp(`^${module} `));
        assert.match(await page.textContent('#speed'), /^[1-9]\d* million logits/);
        await page.click('#start');
        await status(page, 'Done');
        assert.equal(await printed(page), expected);
        assert.equal(await page.textContent('#command'),
            'dpo-kernel-web run --loss sigmoid --beta 0.1 --rate 0.0007 --steps 100');
        const [trained, heldOut] = await curve(page, 'loss');
        assert.ok(trained < 0.5 && heldOut < Math.LN2, 'it has learnt');
        assert.equal(await page.locator('#samples tr').count(), 6);
        await page.context().close();
    }
});

test('pause and go on changes nothing', async () => {
    const page = await browser.open();
    await page.selectOption('#loss', 'ipo');
    assert.equal(await page.inputValue('#beta'), '2');
    await page.click('#start');
    await page.waitForFunction(() => /Step (1\d|2\d) /.test(document.getElementById('status').textContent));
    await page.click('#pause');
    await status(page, 'Paused');
    const step = Number(/step (\d+)/.exec(await page.textContent('#status'))[1]);
    const paused = await printed(page);
    assert.equal(paused, digest(step, '--loss', 'ipo', '--beta', '2', '--rate', '0.0007'));
    await page.waitForTimeout(300);
    assert.equal(await printed(page), paused, 'it stands still');
    await page.click('#pause');
    await status(page, 'Done');
    assert.equal(await printed(page), digest(100, '--loss', 'ipo', '--beta', '2', '--rate', '0.0007'));
    await page.context().close();
});

test('a start during a run drops all that the first still says', async () => {
    const page = await browser.open();
    await page.evaluate(() => {
        globalThis.seen = [];
        const status = document.getElementById('status');
        new MutationObserver(() => globalThis.seen.push(status.textContent)).observe(status, { childList: true });
    });
    await page.click('#start');
    await page.waitForFunction(() => /Step (1\d|2\d) /.test(document.getElementById('status').textContent));
    await page.evaluate(() => { globalThis.seen.length = 0; });
    // Twice in one turn of the page: no answer comes in between.
    await page.evaluate(() => {
        const choose = name => {
            const loss = document.getElementById('loss');
            loss.value = name;
            loss.dispatchEvent(new Event('change'));
            document.getElementById('start').click();
        };
        choose('simpo');
        choose('ipo');
    });
    await status(page, 'Done');
    const seen = await page.evaluate(() => globalThis.seen);
    const steps = seen.map(words => /^Step (\d+) /.exec(words)?.[1]).filter(Boolean).map(Number);
    assert.equal(steps[0], 0, `the new run begins at its start: ${seen.slice(0, 4)}`);
    assert.deepEqual(steps, steps.toSorted((a, b) => a - b), 'no step of another run in between');
    assert.equal(seen.filter(words => /^(Done|Paused)/.test(words)).length, 1, 'one end');
    assert.equal(await printed(page), digest(100, '--loss', 'ipo'));
    await page.context().close();
});

test('nothing is asked of a model that is not there', async () => {
    const page = await browser.open();
    await page.route('**/base.bin', route => setTimeout(() => route.continue(), 1000));
    await page.reload();
    await page.waitForSelector('body[data-ready]');
    assert.equal(await page.textContent('#status'), 'Loading.');
    const disabled = () => page.$$eval('#start, #pause, #use, #file, #built-in', all => all.filter(one => one.disabled).map(one => one.id));
    assert.deepEqual((await disabled()).toSorted(), ['built-in', 'file', 'pause', 'start', 'use']);
    await drop(page, ['early.jsonl']);
    assert.match(await page.textContent('#pairs-status'), /not loaded yet/);
    await status(page, 'Ready');
    assert.deepEqual(await disabled(), ['pause']);
    await page.context().close();
});

test('longer chosen answers: DPO runs beyond its data, and IPO does not', async () => {
    const lengths = {};
    for (const loss of ['sigmoid', 'ipo']) {
        const page = await browser.open();
        await page.selectOption('#loss', loss);
        await page.check('#longer');
        await page.click('#start');
        await status(page, 'Done');
        lengths[loss] = (await curve(page, 'length'))[0];
        assert.equal(await printed(page), digest(100, '--longer', '--loss', loss, '--rate', '0.0007'));
        await page.context().close();
    }
    // The chosen answers of the data have 70 letters on average.
    assert.ok(lengths.sigmoid > 100 && lengths.ipo < 80, JSON.stringify(lengths));
});

test('every loss runs a step to the digest of this machine', async () => {
    const page = await browser.open();
    const losses = await page.$$eval('#loss option', options => options.map(option => option.value));
    assert.equal(losses.length, 9);
    for (const loss of losses) {
        await page.selectOption('#loss', loss);
        await page.click('#start');
        await page.waitForFunction(() => /Step [2-9]/.test(document.getElementById('status').textContent));
        await page.click('#pause');
        await status(page, 'Paused');
        const step = Number(/step (\d+)/.exec(await page.textContent('#status'))[1]);
        assert.equal(await printed(page), digest(step, '--loss', loss), loss);
    }
    await page.context().close();
});

const GOOD = '{"prompt": "is it late?", "chosen": "no, there is time.", "rejected": "yes."}';

/** Drops a file of this content and says what the page answers. */
async function dropped(page, name, content) {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'dpo-web-'));
    const file = path.join(folder, name);
    writeFileSync(file, content);
    await page.setInputFiles('#file', file);
    await page.waitForFunction(name => {
        const words = document.getElementById('pairs-status').textContent;
        return words !== '' && words !== `Reading ${name}.`;
    }, name);
    const words = await page.textContent('#pairs-status');
    const wrong = await page.locator('#pairs-status').evaluate(element => element.classList.contains('wrong'));
    await page.locator('#pairs-status').evaluate(element => { element.textContent = ''; });
    return { words, wrong, file };
}

/** Drops made files of these names on the page, by the event. */
const drop = (page, names) => page.evaluate(([names, content]) => {
    const dataTransfer = new DataTransfer();
    for (const name of names) dataTransfer.items.add(new File([content], name));
    dispatchEvent(new DragEvent('drop', { dataTransfer, cancelable: true }));
}, [names, GOOD]);

test('what is dropped: one file, no more, and no text', async () => {
    const page = await browser.open();
    await drop(page, ['a.jsonl', 'b.jsonl', 'c.jsonl']);
    assert.match(await page.textContent('#pairs-status'), /^3 files were dropped/);
    const taken = await page.evaluate(() => {
        const dataTransfer = new DataTransfer();
        dataTransfer.setData('text/plain', 'words');
        return !dispatchEvent(new DragEvent('dragover', { dataTransfer, cancelable: true }));
    });
    assert.equal(taken, false, 'text that is dragged is left to its field');
    await drop(page, ['a.jsonl']);
    await page.waitForFunction(() => document.getElementById('pairs-status').textContent.startsWith('a.jsonl: 1 to train on'));
    await page.context().close();
});

test('more pairs than the page takes are refused with both numbers', async () => {
    const page = await browser.open();
    const pairs = count => Array.from({ length: count }, (_, i) => GOOD.replace('late', `late ${i}`)).join('\n');
    const many = await dropped(page, 'many.jsonl', pairs(501));
    assert.deepEqual([many.wrong, many.words], [true, '501 pairs are too many for this page: it takes 500 at most.']);
    const most = await dropped(page, 'most.jsonl', pairs(500));
    assert.equal(most.words, 'most.jsonl: 400 to train on, 100 held out.');
    await page.context().close();
});

test('bad files: the words of the reader, as this machine has them', async () => {
    const page = await browser.open();
    const bad = {
        'empty.jsonl': '', 'list.jsonl': `[${GOOD}]`, 'cut.jsonl': GOOD.slice(0, 40), 'blank.jsonl': `${GOOD}\n\n${GOOD}`,
        'python.jsonl': "{'prompt': 'a'}", 'nan.jsonl': '{"prompt": NaN}', 'number.jsonl': '7',
        'missing.jsonl': '{"prompt": "a", "chosen": "b"}', 'wrong.jsonl': '{"prompt": "a", "chosen": 3, "rejected": "c"}',
        'latin.jsonl': Buffer.from([0x7b, 0x22, 0xe9, 0x22, 0x7d]), 'surrogate.jsonl': GOOD.replace('late', '\\ud800'),
        'second.jsonl': `${GOOD} ${GOOD}`, 'line.jsonl': `${GOOD}\n{"prompt": "b", "chosen": [], "rejected": "c"}`,
    };
    for (const [name, content] of Object.entries(bad)) {
        const { words, wrong, file } = await dropped(page, name, content);
        assert.ok(wrong, `${name}: ${words}`);
        assert.equal(words, native('read', file).wrong, name);
    }
    const same = await dropped(page, 'same.jsonl', '{"prompt": "a", "chosen": "b", "rejected": "b"}');
    assert.match(same.words, /No pair is left to train on/);
    // None of them has replaced the pairs.
    await page.click('#start');
    await page.waitForFunction(() => /Step [2-9]/.test(document.getElementById('status').textContent));
    await page.click('#pause');
    await status(page, 'Paused');
    const step = Number(/step (\d+)/.exec(await page.textContent('#status'))[1]);
    assert.equal(await printed(page), digest(step));
    await page.context().close();
});

test('own pairs, dropped and typed', async () => {
    const page = await browser.open();
    const lines = readFileSync(path.join(dist, 'pairs.jsonl'), 'utf8').trim().split('\n').slice(0, 20);
    const own = await dropped(page, 'own.jsonl', `${lines.join('\n')}\n${GOOD.replace('late', 'ÄÖ late')}`);
    assert.equal(own.words,
        'own.jsonl: 17 to train on, 4 held out; 2 characters that the model lacks read as spaces.');
    await page.fill('#pairs', GOOD);
    await page.click('#use');
    await page.waitForFunction(() => document.getElementById('pairs-status').textContent.startsWith('pairs.jsonl'));
    assert.match(await page.textContent('#pairs-status'), /1 to train on, 0 held out/);
    const words = () => Promise.all(['pair-count', 'ratio-side', 'samples-title', 'command', 'saved'].map(id => page.textContent(`#${id}`)));
    const options = 'dpo-kernel-web run --loss sigmoid --beta 0.1 --rate 0.0007';
    await page.click('#start');
    await page.waitForFunction(() => /Step [1-9]/.test(document.getElementById('status').textContent));
    const [count, side, title, command, saved] = await words();
    assert.deepEqual([count, side, title], ['1 of your pairs', 'trained on', 'Answers to prompts that are trained on']);
    assert.match(command, new RegExp(`^${options} --data FILE --steps \\d+$`));
    assert.match(saved, /Save the pairs that you typed as FILE/);
    await page.click('#built-in');
    await page.waitForFunction(() => document.getElementById('pairs-status').textContent.includes('48 to train on'));
    assert.equal((await words())[0], '1 of your pairs', 'the run at hand has them still');
    await dropped(page, "it's mine.jsonl", lines.join('\n'));
    await page.click('#start');
    await page.waitForFunction(() => document.getElementById('pair-count').textContent === '16 of your pairs'
        && /Step [1-9]/.test(document.getElementById('status').textContent));
    const named = await words();
    assert.deepEqual(named.slice(1, 3), ['held out', 'Answers to prompts that were held out']);
    assert.ok(named[3].startsWith(`${options} --data 'it'\\''s mine.jsonl' --steps `), named[3]);
    assert.equal(named[4], '');
    await page.context().close();
});

test('bad numbers are refused in words', async () => {
    const page = await browser.open();
    for (const [field, value] of [['beta', '0'], ['beta', '-1'], ['beta', ''], ['rate', '0'], ['rate', '']]) {
        await page.fill('#beta', '0.1');
        await page.fill('#rate', '0.0007');
        await page.fill(`#${field}`, value);
        await page.click('#start');
        assert.match(await page.textContent('#status'), /is a finite number above 0/);
        assert.equal(await page.evaluate(() => document.activeElement.id), field);
        assert.deepEqual(await page.$$eval('[aria-invalid="true"]', all => all.map(one => one.id)), [field]);
    }
    // A rate at which numbers run away ends the run, and says so.
    await page.fill('#rate', '1e30');
    await page.click('#start');
    await status(page, 'The model’s numbers are no longer finite');
    await page.fill('#rate', '0.0007');
    await page.fill('#beta', '0.1');
    await page.click('#start');
    await page.waitForFunction(() => /Step [2-9] /.test(document.getElementById('status').textContent));
    await page.click('#pause');
    await status(page, 'Paused');
    const step = Number(/step (\d+)/.exec(await page.textContent('#status'))[1]);
    assert.equal(await printed(page), digest(step), 'and the next run is as the first');
    await page.context().close();
});
