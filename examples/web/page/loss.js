// @ts-check
// Step 5: the loss, and how it pushes.
import { animate, arrow, line, moves, sheet, shown, signed, svg, text } from './draw.js';
import { button, numbers, slider } from './controls.js';
import { state } from './state.js';

/** @typedef {import('./wasm.js').Module} Module */

const REACH = 6;

/** @param {HTMLElement} article @param {Module} module @param {() => void} changed @returns {{ draw: () => void }} */
export function loss(article, module, changed) {
    const picture = /** @type {SVGSVGElement} */ (article.querySelector('svg'));
    const caption = /** @type {HTMLElement} */ (article.querySelector('figcaption'));
    const list = /** @type {HTMLElement} */ (article.querySelector('.numbers'));
    const controls = /** @type {HTMLElement} */ (article.querySelector('.controls'));
    const { ratios } = state;
    const sliders = [
        slider(controls, { id: 'ratio-chosen', label: 'chosen', min: -REACH, max: REACH, step: 0.05, get: () => ratios.chosen, set: value => { stop(); ratios.chosen = value; } }, changed),
        slider(controls, { id: 'ratio-rejected', label: 'rejected', min: -REACH, max: REACH, step: 0.05, get: () => ratios.rejected, set: value => { stop(); ratios.rejected = value; } }, changed),
        slider(controls, { id: 'beta-5', label: 'β', min: 0.05, max: 2, step: 0.01, log: true, get: () => state.lossBeta, set: value => { state.lossBeta = value; } }, changed),
    ];
    let stop = () => {};
    const buttons = controls.appendChild(Object.assign(document.createElement('span'), { className: 'buttons' }));
    button(buttons, 'descend', 'Descend', descend, 'act');
    button(buttons, 'misorder', 'Start misordered', () => {
        stop();
        Object.assign(ratios, { chosen: -3, rejected: 3 });
        changed();
    });

    /** Sixty steps down the gradient. */
    function descend() {
        stop();
        const step = () => {
            const { dChosen, dRejected } = module.pair(state.lossBeta, ratios.chosen, ratios.rejected);
            ratios.chosen = Math.min(REACH, ratios.chosen - 0.3 * dChosen);
            ratios.rejected = Math.max(-REACH, ratios.rejected - 0.3 * dRejected);
        };
        let done = 0;
        if (!moves()) while (done++ < 60) step();
        stop = animate(2400, t => {
            while (done < 60 * t) {
                step();
                done++;
            }
            changed();
        });
    }

    function draw() {
        const width = sheet(picture, 440);
        const beta = state.lossBeta;
        const found = module.pair(beta, ratios.chosen, ratios.rejected);
        // Left: the two log-ratios and their push. Right: the loss over z.
        const split = width < 520 ? width * 0.42 : width * 0.4;
        const [top, bottom] = [44, 396];
        const y = (/** @type {number} */ ratio) => (top + bottom) / 2 - (ratio / REACH) * (bottom - top) / 2;
        picture.append(line(0, y(0), split - 16, y(0), { 'stroke-width': 2 }), text(0, y(0) - 6, '0', { class: 'soft' }));
        const column = (/** @type {number} */ x, /** @type {number} */ ratio, /** @type {number} */ d, /** @type {string} */ color, /** @type {string} */ name) => {
            picture.append(
                line(x, top, x, bottom), svg('circle', { cx: x, cy: y(ratio), r: 9, fill: color }),
                text(x, bottom + 26, name, { 'text-anchor': 'middle', class: color.slice(6, -1), 'font-weight': 600 }),
                text(x, top - 16, signed(ratio), { 'text-anchor': 'middle' }),
            );
            const push = -d * 150;
            if (Math.abs(push) > 1) picture.append(arrow(x, y(ratio), x, y(ratio) - push, color));
        };
        column(split * 0.3, ratios.chosen, found.dChosen, 'var(--blue)', width < 520 ? 'y w' : 'chosen');
        column(split * 0.72, ratios.rejected, found.dRejected, 'var(--red)', width < 520 ? 'y l' : 'rejected');

        const [left, right] = [split + 18, width - 8];
        const x = (/** @type {number} */ z) => left + ((Math.max(-6, Math.min(6, z)) + 6) / 12) * (right - left);
        const h = (/** @type {number} */ value) => bottom - (Math.min(6.2, value) / 6.2) * (bottom - top);
        const curve = Array.from({ length: 61 }, (_, i) => {
            const z = -6 + i / 5;
            return `${x(z)},${h(module.pair(1, z, 0).loss)}`;
        });
        const z = found.margin;
        const slope = found.dChosen / beta;
        const reach = Math.min(1.6, 6 - Math.abs(z));
        picture.append(
            line(left, bottom, right, bottom), line(x(0), top, x(0), bottom),
            svg('polyline', { points: curve.join(' '), fill: 'none', stroke: 'var(--purple)', 'stroke-width': 3 }),
            line(x(z - reach), h(found.loss - slope * reach), x(z + reach), h(Math.max(0, found.loss + slope * reach)), { stroke: 'var(--yellow)', 'stroke-width': 2 }),
            svg('circle', { cx: x(z), cy: h(found.loss), r: 8, fill: 'var(--purple)' }),
            text(x(z) + (z > 3 ? 0 : 14), h(found.loss) - 12, `L = ${shown(found.loss)}`, { 'text-anchor': z > 3 ? 'end' : 'start', class: 'halo', 'font-weight': 600, 'font-size': 16 }),
            text(right, bottom + 26, width < 520 ? 'z' : 'z = β (chosen − rejected)', { 'text-anchor': 'end', class: 'soft', 'font-size': width < 520 ? 11 : 14 }),
        );
        caption.textContent = z < -3
            ? 'Misordered: the loss pushes with nearly its whole β.'
            : z > 3 ? 'In order: hardly a push is left.' : `z is ${shown(z)}: the loss pushes with ${shown(found.dRejected / beta)} of its β.`;
        numbers(list, [
            ['margin', 'z', z], ['loss', 'loss', found.loss], ['d-chosen', '∂L/∂log π(y w)', found.dChosen, 'policy'],
            ['d-rejected', '∂L/∂log π(y l)', found.dRejected, 'rejected'],
        ]);
        sliders.forEach(show => show());
    }
    return { draw };
}
