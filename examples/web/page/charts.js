// @ts-check
// Curves that grow with a run.
import { line, sheet, shown, svg, text } from './draw.js';

/** @typedef {{ name: string, color: string, dash?: string, points: [number, number][] }} Curve */

const HEIGHT = 210;

/** Round numbers over a range, three to six of them. @param {number} low @param {number} high */
function ticks(low, high) {
    const raw = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * (raw / power >= 5 ? 10 : raw / power >= 2 ? 5 : raw / power >= 1 ? 2 : 1);
    const list = [];
    for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) list.push(Math.abs(value) < step * 1e-9 ? 0 : value);
    return list;
}

/**
 * @param {string} id of the figure @param {Curve[]} curves @param {number} steps to the right end
 * @param {{ low?: number, high?: number, places?: number, marks?: [string, number][] }} [options]
 */
export function chart(id, curves, steps, { low, high, places = 2, marks = [] } = {}) {
    const figure = /** @type {HTMLElement} */ (document.getElementById(id));
    const picture = /** @type {SVGSVGElement} */ (figure.querySelector('svg'));
    const width = sheet(picture, HEIGHT);
    const values = [...curves.flatMap(({ points }) => points.map(([, value]) => value)), ...marks.map(([, value]) => value)].filter(Number.isFinite);
    const bottomValue = low ?? Math.min(0, ...values);
    const largest = Math.max(bottomValue + (values.length ? 1e-3 : 1), ...values);
    const topValue = high ?? largest + 0.05 * (largest - bottomValue);
    const [left, right, top, bottom] = [44, width - 6, 12, HEIGHT - 24];
    const x = (/** @type {number} */ step) => left + (step / Math.max(1, steps)) * (right - left);
    const y = (/** @type {number} */ value) => bottom - ((value - bottomValue) / (topValue - bottomValue)) * (bottom - top);
    for (const tick of ticks(bottomValue, topValue)) {
        picture.append(line(left, y(tick), right, y(tick), tick === 0 ? { 'stroke-width': 2 } : { 'stroke-opacity': 0.6 }));
        picture.append(text(left - 6, y(tick) + 4, String(Number(tick.toPrecision(3))).replace('-', '−'), { 'text-anchor': 'end', class: 'soft', 'font-size': 12 }));
    }
    picture.append(text(right, HEIGHT - 6, `step ${steps}`, { 'text-anchor': 'end', class: 'soft', 'font-size': 12 }));
    for (const { color, dash, points } of curves) {
        const path = points.filter(([, value]) => Number.isFinite(value)).map(([step, value]) => `${x(step)},${y(value)}`).join(' ');
        picture.append(svg('polyline', { points: path, fill: 'none', stroke: color, 'stroke-width': 2.5, ...(dash ? { 'stroke-dasharray': dash } : {}) }));
        const last = points.at(-1);
        if (last && Number.isFinite(last[1])) picture.append(svg('circle', { cx: x(last[0]), cy: y(last[1]), r: 4, fill: color }));
    }
    for (const [name, value] of marks) {
        picture.append(line(left, y(value), right, y(value), { stroke: 'var(--ink)', 'stroke-dasharray': '2 5' }));
        picture.append(text(right, y(value) - 5, name, { 'text-anchor': 'end', 'font-size': 12, class: 'halo' }));
    }
    const words = /** @type {HTMLElement} */ (figure.querySelector('figcaption span'));
    const parts = curves.map(({ name, color, dash, points }) => {
        const part = document.createElement('span');
        const value = points.at(-1)?.[1];
        part.textContent = `${dash ? '┅' : '━'} ${name} ${value === undefined || !Number.isFinite(value) ? '–' : shown(value, places)}`;
        part.style.color = color;
        part.dataset.value = String(value);
        return part;
    });
    words.replaceChildren(...parts.flatMap(part => [document.createTextNode(' · '), part]));
}
