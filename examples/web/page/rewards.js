// @ts-check
// Steps 3 and 4: the reward that a policy tells, and what two answers have in common.
import { animate, beam, line, sheet, shown, signed, svg, text } from './draw.js';
import { button, numbers, slider } from './controls.js';
import { ANSWERS, answers, rewards, state } from './state.js';

/** @typedef {import('./wasm.js').Module} Module */
/** @typedef {{ draw: () => void, enter?: () => void }} Step */

/** Log-ratio and β log Z of each row, one after the other, up to the reward. @param {SVGSVGElement} picture @param {number} width @param {number} top @param {{ ratio: number, constant: number, name: string }[]} rows @param {number} gone how far β log Z is struck out */
function sums(picture, width, top, rows, gone) {
    const name = Math.min(110, width * 0.24);
    const reach = Math.max(2.2, ...rows.map(({ ratio, constant }) => Math.max(Math.abs(ratio), Math.abs(ratio + constant)))) * 1.12;
    const x = (/** @type {number} */ value) => name + ((value + reach) / (2 * reach)) * (width - name - 8);
    const step = 62;
    picture.append(line(x(0), top - 8, x(0), top + rows.length * step, { 'stroke-width': 2 }), text(x(0), top - 14, '0', { 'text-anchor': 'middle', class: 'soft' }));
    rows.forEach(({ ratio, constant, name: words }, i) => {
        const y = top + i * step;
        const end = ratio + constant;
        picture.append(
            text(0, y + 26, words, { 'font-size': name < 90 ? 12 : 15 }),
            beam(x(0), x(ratio), y + 4, 16, { fill: 'var(--blue)' }),
            beam(x(ratio), x(end), y + 22, 16, { fill: 'var(--yellow)', opacity: 1 - 0.75 * gone }),
            line(x(ratio), y + 2, x(ratio), y + 42, { stroke: 'var(--blue)', 'stroke-width': 2 }),
        );
        if (gone < 1) {
            picture.append(
                svg('polygon', { points: `${x(end)},${y + 40} ${x(end) - 6},${y + 50} ${x(end) + 6},${y + 50}`, fill: 'var(--green)', opacity: 1 - gone }),
            );
        }
        if (gone > 0) {
            const [from, to] = [Math.min(x(ratio), x(end)) - 6, Math.max(x(ratio), x(end)) + 6];
            picture.append(line(from, y + 38, from + (to - from) * gone, y + 38 - 16 * gone, { stroke: 'var(--red)', 'stroke-width': 3 }));
        }
    });
    return step * rows.length;
}

/** @param {HTMLElement} article @param {Module} module @param {() => void} changed @returns {Step} */
export function inversion(article, module, changed) {
    const picture = /** @type {SVGSVGElement} */ (article.querySelector('svg'));
    const caption = /** @type {HTMLElement} */ (article.querySelector('figcaption'));
    const list = /** @type {HTMLElement} */ (article.querySelector('.numbers'));
    const controls = /** @type {HTMLElement} */ (article.querySelector('.controls'));
    const show = slider(controls, { id: 'beta-3', label: 'β', min: 0.05, max: 10, step: 0.01, log: true, get: () => state.beta, set: value => { state.beta = value; } }, changed);
    function draw() {
        const width = sheet(picture, 440);
        const found = answers(module);
        picture.append(
            text(4, 16, '▇ β log π*/π ref', { class: 'blue' }), text(136, 16, '▇ β log Z', { class: 'yellow' }),
            text(222, 16, '▲ r', { class: 'green' }),
        );
        sums(picture, width, 66, ANSWERS.map((name, i) => ({ name, ratio: found.ratios[i], constant: found.maximum })), 0);
        const truth = rewards();
        const worst = Math.max(...truth.map((reward, i) => Math.abs(reward - found.implied[i])));
        caption.textContent = `Log-ratio and β log Z = ${shown(found.maximum)} add up to every answer’s reward`
            + ` (computed from π*: the largest difference is ${worst === 0 ? '0' : worst.toExponential(0)}).`;
        numbers(list, [
            ['maximum', 'β log Z, the same for all', found.maximum, 'partition'],
            ...found.ratios.map((ratio, i) => /** @type {[string, string, number, string]} */ ([`ratio-${i}`, `β log-ratio ${ANSWERS[i]}`, ratio, 'policy'])),
            ...found.implied.map((reward, i) => /** @type {[string, string, number, string]} */ ([`implied-${i}`, `r ${ANSWERS[i]}`, reward, 'reward'])),
        ]);
        show();
    }
    return { draw };
}

/** @param {HTMLElement} article @param {Module} module @param {() => void} changed @returns {Step} */
export function cancellation(article, module, changed) {
    const picture = /** @type {SVGSVGElement} */ (article.querySelector('svg'));
    const caption = /** @type {HTMLElement} */ (article.querySelector('figcaption'));
    const list = /** @type {HTMLElement} */ (article.querySelector('.numbers'));
    const controls = /** @type {HTMLElement} */ (article.querySelector('.controls'));
    const sliders = [
        slider(controls, { id: 'shift', label: 'f(x)', min: -2, max: 2, step: 0.05, get: () => state.shift, set: value => { state.shift = value; } }, changed),
        slider(controls, { id: 'beta-4', label: 'β', min: 0.05, max: 10, step: 0.01, log: true, get: () => state.beta, set: value => { state.beta = value; } }, changed),
    ];
    for (const [key, words] of /** @type {const} */ ([['chosen', 'y w'], ['rejected', 'y l']])) {
        const row = controls.appendChild(Object.assign(document.createElement('div'), { className: 'slider' }));
        const label = Object.assign(document.createElement('label'), { htmlFor: `answer-${key}`, textContent: words });
        const select = Object.assign(document.createElement('select'), { id: `answer-${key}` });
        select.append(...ANSWERS.map((answer, i) => new Option(answer, String(i), false, i === state[key])));
        select.addEventListener('change', () => {
            state[key] = Number(select.value);
            changed();
        });
        row.append(label, select);
    }
    let gone = 1;
    let stop = () => {};
    const enter = () => {
        stop();
        gone = 0;
        stop = animate(1400, t => {
            gone = t;
            draw();
        });
    };
    const buttons = controls.appendChild(Object.assign(document.createElement('span'), { className: 'buttons' }));
    button(buttons, 'strike', 'Strike out β log Z again', enter, 'act');

    function draw() {
        const width = sheet(picture, 440);
        const found = answers(module);
        const pair = [state.chosen, state.rejected];
        picture.append(
            text(4, 16, '▇ β log π*/π ref', { class: 'blue' }),
            text(136, 16, '▇ β log Z', { class: 'yellow' }),
        );
        const rows = pair.map(i => ({ name: ANSWERS[i], ratio: found.ratios[i], constant: found.maximum }));
        const used = 60 + sums(picture, width, 60, rows, gone);
        const [w, l] = pair.map(i => found.implied[i]);
        const probability = module.preference(w, l);

        // The sigmoid, and where the difference stands on it.
        const [top, bottom] = [used + 34, 416];
        const middle = width / 2;
        const half = Math.min(260, width / 2 - 12);
        const x = (/** @type {number} */ delta) => middle + (Math.max(-6, Math.min(6, delta)) / 6) * half;
        const y = (/** @type {number} */ p) => bottom - p * (bottom - top);
        const curve = Array.from({ length: 61 }, (_, i) => {
            const delta = -6 + i / 5;
            return `${x(delta)},${y(module.preference(delta, 0))}`;
        });
        picture.append(
            line(x(-6), bottom, x(6), bottom), line(middle, top, middle, bottom),
            svg('polyline', { points: curve.join(' '), fill: 'none', stroke: 'var(--purple)', 'stroke-width': 3 }),
            line(x(w - l), bottom, x(w - l), y(probability), { stroke: 'var(--purple)', 'stroke-dasharray': '4 4' }),
            svg('circle', { cx: x(w - l), cy: y(probability), r: 8, fill: 'var(--purple)' }),
            text(x(w - l) + (w > l ? -14 : 14), y(probability) + (w > l ? -8 : 4), `P = ${shown(probability, 3)}`, { 'text-anchor': w > l ? 'end' : 'start', 'font-weight': 600, 'font-size': 18 }),
            text(x(w - l), bottom + 18, `Δr = ${signed(w - l)}`, { 'text-anchor': 'middle', class: 'soft' }),
        );
        caption.textContent = `f(x) = ${shown(state.shift, 2)} is in both rewards, and so is β log Z = ${shown(found.maximum)}.`
            + ` Their difference is ${shown(w - l)}, and ${ANSWERS[pair[0]]} is preferred with probability ${shown(probability)}.`;
        numbers(list, [
            ['reward-chosen', 'r of y w', w, 'reward'], ['reward-rejected', 'r of y l', l, 'reward'],
            ['maximum', 'β log Z in both', found.maximum, 'partition'],
            ['difference', 'difference', w - l], ['preference', 'P(y w ≻ y l)', probability],
        ]);
        sliders.forEach(show => show());
    }
    return { draw, enter };
}
