// The five steps: every number that the page shows against the crate's theory on this machine, bit for bit.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse, numbers } from './browser.mjs';

let browser;
before(async () => { browser = await browse(); });
after(async () => {
    await browser.close();
    assert.deepEqual(browser.complaints, [], 'the console is silent, and nothing else is asked for');
});

const REFERENCE = [0.12, 0.3, 0.28, 0.2, 0.1];
const REWARDS = [1.5, 1, 0, -0.5, -1.5];

/** What a list of numbers shows, every digit. */
const read = (page, step) => page.$$eval(`#numbers-${step} dd`, cells =>
    Object.fromEntries(cells.map(cell => [cell.dataset.key, Number(cell.dataset.value)])));

const shown = (page, step) => page.$$eval(`#numbers-${step} dd`, cells =>
    Object.fromEntries(cells.map(cell => [cell.dataset.key, cell.textContent])));

/** Sets a slider as a person does who drags it, by its value and the event; what the page makes of it. */
const slide = (page, id, value) => page.locator(`#${id}`).evaluate((input, value) => {
    input.value = String(value);
    input.dispatchEvent(new Event('input', { bubbles: true }));
    return Number(input.parentElement.querySelector('output').dataset.value);
}, value);

/** Steps 1 to 3 by the program. */
function answers(beta, rewards, policy) {
    const found = numbers('answers', beta, REFERENCE.join(), rewards.join(), policy.join());
    const list = index => found.slice(4 + 5 * index, 9 + 5 * index);
    const [objective, maximum, logPartition, expectedReward] = found;
    return { objective, maximum, logPartition, expectedReward, optimum: list(0), ratios: list(1), implied: list(2) };
}

test('step 1: a dragged policy has the objective of the theory', async () => {
    const page = await browser.open();
    const sum = REFERENCE.reduce((a, b) => a + b, 0);
    const start = answers(0.5, REWARDS, REFERENCE.map(p => p / sum));
    const first = await read(page, 1);
    assert.equal(first.objective, start.objective);
    assert.equal(first.maximum, start.maximum);
    assert.equal(first.reward, start.expectedReward);

    // By the slider, and by the bar itself.
    await slide(page, 'policy-0', 0.6);
    const dragged = await read(page, 1);
    assert.ok(dragged.objective > first.objective, 'the best answer raises the objective');
    const bar = await page.locator('#step-1 svg .drag').nth(4).boundingBox();
    await page.mouse.move(bar.x + bar.width / 2, bar.y + 5);
    await page.mouse.down();
    await page.mouse.move(bar.x + bar.width / 2, bar.y - 90, { steps: 4 });
    await page.mouse.up();
    const worse = await read(page, 1);
    assert.ok(worse.objective < dragged.objective, 'the worst answer lowers it');
    assert.ok(worse.gap > 0 && worse.maximum === first.maximum, 'the maximum does not depend on the policy');

    await page.click('#to-optimum');
    const best = await read(page, 1);
    assert.ok(Math.abs(best.gap) < 1e-12, `at the optimum nothing is missing, not ${best.gap}`);
    assert.equal((await shown(page, 1)).gap, '0.000');
    assert.match(await page.textContent('#caption-1'), /This is the maximum/);
    await page.context().close();
});

test('step 2: the optimum follows β and the rewards', async () => {
    const page = await browser.open({ hash: '#step-2' });
    for (const [beta, reward] of [[-1.3, 2], [-0.3, -2], [0.5, 0.7], [1, 0]]) {
        const chosen = await slide(page, 'beta-2', beta);
        assert.ok(Math.abs(Math.log10(chosen) - beta) < 0.006, 'the slider is logarithmic, in steps of 0.01');
        await slide(page, 'reward-3', reward);
        const rewards = REWARDS.with(3, reward);
        const expected = answers(chosen, rewards, REFERENCE);
        const found = await read(page, 2);
        assert.equal(found['log-partition'], expected.logPartition);
        assert.equal(found.maximum, expected.maximum);
        expected.optimum.forEach((p, i) => assert.equal(found[`optimum-${i}`], p));
        assert.equal((await shown(page, 2))['optimum-0'], expected.optimum[0].toFixed(3));
    }
    await page.context().close();
});

test('step 3: log-ratio and β log Z give back the rewards', async () => {
    const page = await browser.open({ hash: '#step-3' });
    for (const at of [-1, 0, 0.8]) {
        const beta = await slide(page, 'beta-3', at);
        const expected = answers(beta, REWARDS, REFERENCE);
        const found = await read(page, 3);
        REWARDS.forEach((reward, i) => {
            assert.equal(found[`ratio-${i}`], expected.ratios[i]);
            assert.equal(found[`implied-${i}`], expected.implied[i]);
            assert.ok(Math.abs(found[`implied-${i}`] - reward) < 1e-13, 'the reward itself');
        });
    }
    await page.context().close();
});

test('step 4: f(x) moves all rewards and no preference', async () => {
    const page = await browser.open({ hash: '#step-4' });
    const before = await read(page, 4);
    assert.equal(before.preference, numbers('preference', before['reward-chosen'], before['reward-rejected'])[1]);
    const shownBefore = await shown(page, 4);
    await slide(page, 'shift', 1.5);
    const after = await read(page, 4);
    assert.ok(Math.abs(after['reward-chosen'] - before['reward-chosen'] - 1.5) < 1e-12);
    assert.ok(Math.abs(after.maximum - before.maximum - 1.5) < 1e-12, 'β log Z takes all of f');
    const shownAfter = await shown(page, 4);
    assert.equal(shownAfter.preference, shownBefore.preference);
    assert.notEqual(shownAfter['reward-chosen'], shownBefore['reward-chosen']);
    assert.ok(Math.abs(after.preference - before.preference) < 1e-15, 'the preference stays');
    await page.selectOption('#answer-rejected', '0');
    assert.equal((await read(page, 4)).preference, 0.5, 'an answer against itself');
    await page.context().close();
});

test('step 5: loss and gradients are the crate’s', async () => {
    const page = await browser.open({ hash: '#step-5' });
    assert.equal((await read(page, 5)).loss, Math.LN2, 'ln 2 at the start, to the bit');
    for (const [chosen, rejected, at] of [[2, -1, -0.3], [-6, 6, 0.3], [0.35, 0.4, -1.3]]) {
        const a = await slide(page, 'ratio-chosen', chosen);
        const b = await slide(page, 'ratio-rejected', rejected);
        const beta = await slide(page, 'beta-5', at);
        const [loss, margin, dChosen, dRejected] = numbers('pair', beta, a, b);
        assert.deepEqual(await read(page, 5), { margin, loss, 'd-chosen': dChosen, 'd-rejected': dRejected });
    }
    await page.click('#misorder');
    const misordered = await read(page, 5);
    await page.click('#descend');
    assert.ok((await read(page, 5)).loss < misordered.loss, 'descending lowers the loss');
    await page.context().close();
});

test('by the keyboard alone: every step, a slider, a run', async () => {
    const page = await browser.open();
    const visible = () => page.$$eval('.step', steps => steps.filter(step => !step.hidden).map(step => step.id));
    for (const step of [2, 3, 4, 5]) {
        await page.keyboard.press('ArrowRight');
        assert.deepEqual(await visible(), [`step-${step}`]);
        assert.equal(await page.evaluate(() => document.activeElement.id), `title-${step}`, 'a screen reader hears it');
    }
    await page.keyboard.press('ArrowRight');
    assert.deepEqual(await visible(), ['step-5'], 'there is no sixth');
    await page.click('[data-step="4"]');
    await page.focus('#next');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'title-5', 'the last step disables the arrow, and keeps the focus');
    const reach = async id => {
        for (let i = 0; i < 80; i++) {
            if (await page.evaluate(id => document.activeElement.id === id, id)) return;
            await page.keyboard.press('Tab');
        }
        assert.fail(`${id} is not reached by Tab`);
    };
    await reach('ratio-chosen');
    await page.keyboard.press('ArrowRight');
    assert.deepEqual(await visible(), ['step-5'], 'an arrow on a slider moves the slider');
    assert.ok((await read(page, 5)).margin > 0);
    await reach('start');
    await page.keyboard.press('ArrowLeft');
    assert.deepEqual(await visible(), ['step-5'], 'an arrow elsewhere moves no step');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => /Step [1-9]/.test(document.getElementById('status').textContent));
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'pause');
    await page.keyboard.press('Space');
    await page.waitForFunction(() => document.getElementById('status').textContent.startsWith('Paused'));
    await page.context().close();
});
