// @ts-check
// Puts the page together.
import { cancellation, inversion } from './rewards.js';
import { learning } from './learn.js';
import { loss } from './loss.js';
import { navigate } from './steps.js';
import { objective, optimum } from './optimum.js';
import { Module } from './wasm.js';

const panel = learning();
let redraw = () => panel.draw();
addEventListener('resize', () => redraw());
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => redraw());

try {
    const module = await Module.load();
    const article = (/** @type {number} */ step) => /** @type {HTMLElement} */ (document.getElementById(`step-${step}`));
    let draw = () => {};
    const changed = () => draw();
    const steps = [objective, optimum, inversion, cancellation, loss].map((step, i) => step(article(i + 1), module, changed));
    const { draw: now } = navigate(steps);
    draw = now;
    redraw = () => {
        now();
        panel.draw();
    };
    document.body.dataset.ready = 'true';
} catch (error) {
    const caption = /** @type {HTMLElement} */ (document.querySelector('#step-1 figcaption'));
    caption.textContent = `The pictures cannot be drawn: ${error instanceof Error ? error.message : error}`;
    caption.className = 'wrong';
}
