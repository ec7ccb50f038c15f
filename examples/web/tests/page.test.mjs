// How the page looks and reads: accessibility by axe, widths, both themes, motion. Pictures go to the folder that
// DPO_WEB_SHOTS names, for a person to look at.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { browse, status } from './browser.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const shots = process.env.DPO_WEB_SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

let browser;
before(async () => { browser = await browse(); });
after(async () => {
    await browser.close();
    assert.deepEqual(browser.complaints, [], 'the console is silent, and nothing else is asked for');
});

/** What axe finds, in a line each. */
async function findings(page) {
    // The page's own policy forbids scripts from elsewhere; the debugger's are not from anywhere.
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    }));
    return violations.flatMap(({ id, nodes }) => nodes.map(node => `${id}: ${node.target.join(' ')} ${node.failureSummary}`));
}

for (const colorScheme of ['dark', 'light']) {
    for (const width of [320, 1280, 2560]) {
        test(`${width} pixels, ${colorScheme}: no finding, nothing beside the page`, async () => {
            const page = await browser.open({ colorScheme, viewport: { width, height: 900 } });
            await page.check('#longer');
            await page.click('#start');
            if (shots) await status(page, 'Done');
            else {
                await page.waitForFunction(() => /Step [1-9]/.test(document.getElementById('status').textContent));
                await page.click('#pause');
                await status(page, 'Paused');
            }
            await page.evaluate(() => { document.getElementById('own').open = true; });
            for (const step of [1, 2, 3, 4, 5]) {
                await page.click(`#steps [data-step="${step}"]`);
                assert.deepEqual(await findings(page), [], `step ${step}`);
                const [all, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
                assert.ok(all <= seen, `step ${step}: ${all} pixels where ${seen} are seen`);
                const formula = await page.locator(`#step-${step} .formula`).evaluate(box =>
                    box.querySelector('math').getBoundingClientRect().right - box.getBoundingClientRect().right);
                assert.ok(formula < 1, `step ${step}: the formula is ${formula} pixels too wide`);
                if (shots) await page.screenshot({ path: path.join(shots, `${colorScheme}-${width}-${step}.png`), fullPage: step === 1 });
            }
            await page.context().close();
        });
    }
}

test('a missing label is a finding', async () => {
    const page = await browser.open();
    await page.evaluate(() => document.querySelector('label[for="policy-0"]').remove());
    assert.ok((await findings(page)).some(line => line.startsWith('label')), 'axe sees it');
    await page.context().close();
});

test('things move, and do not where nobody wants them to', async () => {
    const moving = await browser.open({ reducedMotion: 'no-preference' });
    await moving.click('#next');
    assert.ok(await moving.evaluate(() => document.getAnimations().length) > 0, 'terms travel');
    await moving.context().close();
    const still = await browser.open({ reducedMotion: 'reduce' });
    await still.click('#next');
    assert.equal(await still.evaluate(() => document.getAnimations().length), 0);
    await still.context().close();
});

test('formulas are MathML, and figures have words', async () => {
    const page = await browser.open();
    assert.equal(await page.locator('.formula:has(math)').count(), 5);
    for (const step of [1, 2, 3, 4, 5]) {
        await page.click(`#steps [data-step="${step}"]`);
        assert.ok((await page.textContent(`#caption-${step}`)).length > 30, `step ${step}`);
    }
    await page.context().close();
});
