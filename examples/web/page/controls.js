// @ts-check
// Sliders and numbers beside a picture.
import { shown } from './draw.js';

/**
 * A labelled slider that says its value.
 * @param {HTMLElement} parent @param {{ id: string, label: string, min: number, max: number, step: number,
 *   get: () => number, set: (value: number) => void, places?: number, log?: boolean }} options
 * @param {() => void} changed
 * @returns {() => void} shows the value as it is
 */
export function slider(parent, { id, label, min, max, step, get, set, places = 2, log = false }, changed) {
    const row = document.createElement('div');
    row.className = 'slider';
    const name = Object.assign(document.createElement('label'), { htmlFor: id, textContent: label });
    const output = document.createElement('output');
    output.htmlFor.add(id);
    // The slider says its value itself.
    output.setAttribute('aria-live', 'off');
    const [to, from] = log ? [Math.log10, (/** @type {number} */ x) => 10 ** x] : [(/** @type {number} */ x) => x, (/** @type {number} */ x) => x];
    const input = Object.assign(document.createElement('input'), {
        type: 'range', id, min: String(to(min)), max: String(to(max)), step: String(step),
    });
    row.append(name, input, output);
    parent.append(row);
    input.addEventListener('input', () => {
        set(from(Number(input.value)));
        changed();
    });
    const show = () => {
        if (document.activeElement !== input || Math.abs(Number(input.value) - to(get())) > step) input.value = String(to(get()));
        const words = shown(get(), places);
        output.textContent = words;
        output.dataset.value = String(get());
        input.setAttribute('aria-valuetext', words);
    };
    show();
    return show;
}

/** @param {HTMLElement} parent @param {string} id @param {string} label @param {() => void} act @param {string} [kind] */
export function button(parent, id, label, act, kind = '') {
    const made = Object.assign(document.createElement('button'), { type: 'button', id, textContent: label, className: kind });
    made.addEventListener('click', act);
    parent.append(made);
    return made;
}

/**
 * A list of named numbers. `data-value` has every digit.
 * @param {HTMLElement} list @param {[string, string, number, string?][]} rows key, name, value, class
 */
export function numbers(list, rows) {
    if (list.childElementCount !== 2 * rows.length) {
        list.replaceChildren(...rows.flatMap(([key, name, , kind]) => {
            const [term, value] = [document.createElement('dt'), document.createElement('dd')];
            term.textContent = name;
            value.dataset.key = key;
            if (kind) value.className = kind;
            return [term, value];
        }));
    }
    for (const [key, , number] of rows) {
        const value = /** @type {HTMLElement} */ (list.querySelector(`[data-key="${key}"]`));
        value.textContent = shown(number);
        value.dataset.value = String(number);
    }
}
