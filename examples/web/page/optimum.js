// @ts-check
// Steps 1 and 2: a policy that is dragged, and the best one.
import { animate, bar, line, sheet, shown, svg, text } from './draw.js';
import { button, numbers, slider } from './controls.js';
import { ANSWERS, REFERENCE, answers, probabilities, state } from './state.js';

/** @typedef {import('./wasm.js').Module} Module */
/** @typedef {{ draw: () => void }} Step */

const HEIGHT = 440;
const BASE = 362;
const TOP = 44;
/** The height of a probability, where `most` is the largest. @param {number[]} most */
const scale = (...most) => {
    const top = Math.max(0.55, ...most);
    return (/** @type {number} */ probability) => BASE - (probability / top) * (BASE - TOP);
};

/** Names and rewards under the bars. @param {SVGSVGElement} picture @param {number} x @param {number} index @param {number} width */
function foot(picture, x, index, width) {
    const [size, words] = width < 56 ? [9.5, ANSWERS[index].slice(1, -1)] : [width < 78 ? 11 : 14, ANSWERS[index]];
    const reward = shown(state.rewards[index] + state.shift, 1);
    const named = state.shift === 0 ? `r = ${reward}` : width < 78 ? reward : `r + f = ${reward}`;
    picture.append(
        text(x, BASE + 22, words, { 'text-anchor': 'middle', 'font-size': size }),
        text(x, BASE + 44, width < 56 ? reward : named, { 'text-anchor': 'middle', 'font-size': Math.max(size, 11), class: 'green' }),
    );
}

/** A policy to drag. @param {HTMLElement} article @param {Module} module @param {() => void} changed @returns {Step} */
export function objective(article, module, changed) {
    const picture = /** @type {SVGSVGElement} */ (article.querySelector('svg'));
    const caption = /** @type {HTMLElement} */ (article.querySelector('figcaption'));
    const list = /** @type {HTMLElement} */ (article.querySelector('.numbers'));
    const controls = /** @type {HTMLElement} */ (article.querySelector('.controls'));
    const sliders = ANSWERS.map((label, index) => slider(controls, {
        id: `policy-${index}`, label: `π ${label}`, min: 0.005, max: 1, step: 0.005, get: () => probabilities()[index],
        set: value => raise(index, value),
    }, changed));
    let stop = () => {};
    const buttons = controls.appendChild(Object.assign(document.createElement('span'), { className: 'buttons' }));
    button(buttons, 'to-optimum', 'Go to the maximum', () => travel(answers(module).optimum), 'act');
    button(buttons, 'to-reference', 'Back to π ref', () => travel(REFERENCE));

    /** Sets one probability; the others share what is left as before. @param {number} index @param {number} value */
    function raise(index, value) {
        stop();
        const now = probabilities();
        const wanted = Math.min(0.98, Math.max(0.005, value));
        const others = 1 - now[index];
        state.policy = now.map((p, i) => (i === index ? wanted : Math.max(1e-4, (p / others) * (1 - wanted))));
    }

    /** @param {number[]} goal */
    function travel(goal) {
        stop();
        const from = probabilities();
        stop = animate(900, t => {
            state.policy = from.map((p, i) => Math.max(1e-6, p + t * (goal[i] - p)));
            changed();
        });
    }

    /** @param {PointerEvent} event @param {number} index */
    function drag(event, index) {
        const target = /** @type {Element} */ (event.currentTarget);
        target.setPointerCapture(event.pointerId);
        const move = (/** @type {PointerEvent} */ moved) => {
            const box = picture.getBoundingClientRect();
            const y = ((moved.clientY - box.top) / box.height) * HEIGHT;
            raise(index, ((BASE - y) / (BASE - TOP)) * Math.max(0.55, ...probabilities(), ...REFERENCE));
            changed();
        };
        // The bar is drawn anew while it is dragged: the picture stays.
        const end = () => {
            removeEventListener('pointermove', move);
            removeEventListener('pointerup', end);
            removeEventListener('pointercancel', end);
        };
        addEventListener('pointermove', move);
        addEventListener('pointerup', end);
        addEventListener('pointercancel', end);
        event.preventDefault();
    }

    const layer = { bars: svg('g'), rest: svg('g') };
    function draw() {
        const width = sheet(picture, HEIGHT);
        const found = answers(module);
        const policy = probabilities();
        const at = scale(...policy, ...REFERENCE);
        const gauge = Math.min(150, width * 0.26);
        const room = (width - gauge) / ANSWERS.length;
        picture.append(line(0, BASE, width - gauge, BASE), layer.bars);
        layer.bars.replaceChildren();
        policy.forEach((p, i) => {
            const [x, w] = [i * room + room * 0.18, room * 0.64];
            const shape = bar(x, BASE, at(p), w, { fill: 'var(--blue)' });
            const handle = svg('rect', { x: x - 4, y: at(p) - 14, width: w + 8, height: BASE - at(p) + 14, fill: 'transparent', class: 'drag' });
            handle.addEventListener('pointerdown', event => drag(/** @type {PointerEvent} */ (event), i));
            layer.bars.append(
                shape, bar(x, BASE, at(REFERENCE[i]), w, { fill: 'none', stroke: 'var(--red)', 'stroke-dasharray': '5 4', 'stroke-width': 2 }),
                line(x + w * 0.3, at(p) + 6, x + w * 0.7, at(p) + 6, { stroke: 'var(--sheet)', 'stroke-width': 2 }), handle,
                text(x + w / 2, Math.min(at(p), at(REFERENCE[i])) - 8, shown(p, 2), { 'text-anchor': 'middle', class: 'blue', 'font-weight': 600 }),
            );
            foot(picture, i * room + room / 2, i, room);
        });
        picture.append(text(4, 16, '▇ π', { class: 'blue' }), text(44, 16, '┅ π ref', { class: 'red' }));

        // The gauge: from far below to the maximum.
        const [left, w] = [width - gauge + gauge * 0.35, Math.min(44, gauge * 0.34)];
        const low = Math.min(found.objective, found.maximum - 1.5) - 0.2;
        const y = (/** @type {number} */ value) => BASE - ((value - low) / (found.maximum - low)) * (BASE - TOP - 26);
        picture.append(
            bar(left, BASE, y(found.maximum), w, { fill: 'none', stroke: 'var(--line)', 'stroke-width': 2 }),
            bar(left, BASE, y(found.objective), w, { fill: 'var(--green)' }),
            line(left - 10, y(found.maximum), left + w + 10, y(found.maximum), { stroke: 'var(--yellow)', 'stroke-width': 3 }),
            text(left + w / 2, y(found.maximum) - 10, 'β log Z', { 'text-anchor': 'middle', class: 'yellow' }),
            text(left + w / 2, BASE + 22, 'objective', { 'text-anchor': 'middle', class: 'green' }),
            text(left + w / 2, BASE + 44, shown(found.objective, 3), { 'text-anchor': 'middle', 'font-weight': 600 }),
        );
        const gap = found.maximum - found.objective;
        const divergence = (found.expectedReward - found.objective) / state.beta;
        caption.textContent = gap < 5e-4
            ? 'This is the maximum: no policy does better.'
            : `The objective is ${shown(found.objective)}, ${shown(gap)} below its maximum ${shown(found.maximum)}.`;
        numbers(list, [
            ['reward', 'E[r]', found.expectedReward, 'reward'], ['divergence', 'KL(π ∥ π ref)', divergence, 'leash'],
            ['beta', 'β', state.beta], ['objective', 'E[r] − β KL', found.objective],
            ['maximum', 'β log Z', found.maximum, 'partition'], ['gap', 'short by', gap],
        ]);
        sliders.forEach(show => show());
    }
    return { draw };
}

/** π_ref, tilted by rewards. @param {HTMLElement} article @param {Module} module @param {() => void} changed @returns {Step} */
export function optimum(article, module, changed) {
    const picture = /** @type {SVGSVGElement} */ (article.querySelector('svg'));
    const caption = /** @type {HTMLElement} */ (article.querySelector('figcaption'));
    const list = /** @type {HTMLElement} */ (article.querySelector('.numbers'));
    const controls = /** @type {HTMLElement} */ (article.querySelector('.controls'));
    const sliders = [
        slider(controls, { id: 'beta-2', label: 'β', min: 0.05, max: 10, step: 0.01, log: true, get: () => state.beta, set: value => { state.beta = value; } }, changed),
        ...ANSWERS.map((label, index) => slider(controls, {
            id: `reward-${index}`, label: `r ${label}`, min: -2, max: 2, step: 0.1, places: 1, get: () => state.rewards[index],
            set: value => { state.rewards[index] = value; },
        }, changed)),
    ];
    const buttons = controls.appendChild(Object.assign(document.createElement('span'), { className: 'buttons' }));
    let stop = () => {};
    button(buttons, 'sweep', 'From sharp to flat', () => {
        stop();
        stop = animate(3500, t => {
            state.beta = 10 ** (-1.3 + 2.3 * t);
            changed();
        });
    }, 'act');

    function draw() {
        const width = sheet(picture, HEIGHT);
        const found = answers(module);
        const at = scale(...found.optimum, ...REFERENCE);
        const room = width / ANSWERS.length;
        picture.append(line(0, BASE, width, BASE));
        found.optimum.forEach((p, i) => {
            const w = room * 0.3;
            const [x, middle] = [i * room, i * room + room / 2];
            picture.append(
                bar(x + room * 0.16, BASE, at(REFERENCE[i]), w, { fill: 'none', stroke: 'var(--red)', 'stroke-dasharray': '5 4', 'stroke-width': 2 }),
                bar(x + room * 0.54, BASE, at(p), w, { fill: 'var(--blue)' }),
                text(x + room * 0.54 + w / 2, at(p) - 8, shown(p, 2), { 'text-anchor': 'middle', class: 'blue', 'font-weight': 600 }),
            );
            const tilt = Math.exp((state.rewards[i] + state.shift) / state.beta);
            const factor = tilt >= 1000 || tilt < 0.01 ? tilt.toExponential(0).replace('e+', 'e') : shown(tilt, 2);
            picture.append(text(middle, BASE + 66, `× ${factor}`, { 'text-anchor': 'middle', class: 'soft', 'font-size': room < 78 ? 11 : 14 }));
            foot(picture, middle, i, room);
        });
        picture.append(text(4, 16, '┅ π ref', { class: 'red' }), text(70, 16, '▇ π*', { class: 'blue' }), text(120, 16, state.shift === 0 ? '× e^(r/β)' : '× e^((r + f)/β)', { class: 'soft' }));
        const best = found.optimum.indexOf(Math.max(...found.optimum));
        caption.textContent = `With β = ${shown(state.beta, 2)} the best policy says ${ANSWERS[best]} ${shown(100 * found.optimum[best], 0)} % of the time.`;
        numbers(list, [
            ['partition', 'Z(x)', Math.exp(found.logPartition), 'partition'], ['log-partition', 'log Z(x)', found.logPartition, 'partition'],
            ['maximum', 'β log Z(x), the maximum', found.maximum, 'partition'],
            ...found.optimum.map((p, i) => /** @type {[string, string, number, string]} */ ([`optimum-${i}`, `π* ${ANSWERS[i]}`, p, 'policy'])),
        ]);
        sliders.forEach(show => show());
    }
    return { draw };
}
