// @ts-check
// One click or arrow key a step. Terms that both formulas have travel from one to the other.
import { moves } from './draw.js';

/** @typedef {{ draw: () => void, enter?: () => void }} Step */

/** @param {HTMLElement} article @returns {Map<string, DOMRect>} */
const places = article => new Map([...article.querySelectorAll('[data-term]')]
    .map(term => [/** @type {HTMLElement} */ (term).dataset.term ?? '', term.getBoundingClientRect()]));

/** @param {HTMLElement} article @param {Map<string, DOMRect>} before */
function write(article, before) {
    if (!moves()) return;
    const timing = { duration: 800, easing: 'cubic-bezier(.45, 0, .2, 1)' };
    const travelled = new Set();
    for (const term of article.querySelectorAll('[data-term]')) {
        const from = before.get(/** @type {HTMLElement} */ (term).dataset.term ?? '');
        const to = term.getBoundingClientRect();
        if (!from || !to.width || travelled.has(term.parentElement?.closest('[data-term]'))) continue;
        travelled.add(term);
        const start = `translate(${from.x - to.x}px, ${from.y - to.y}px) scale(${from.width / to.width}, ${from.height / to.height})`;
        const options = { transformOrigin: '0 0' };
        term.animate([{ transform: start, ...options }, { transform: 'none', ...options }], timing);
    }
    for (const [index, part] of [...article.querySelectorAll('math > *')].entries()) {
        if (travelled.has(part)) continue;
        part.animate([{ opacity: 0 }, { opacity: 0, offset: 0.4 }, { opacity: 1 }], { ...timing, duration: 900 + 60 * index });
    }
    article.querySelector('figure')?.animate([{ opacity: 0, transform: 'translateY(12px)' }, { opacity: 1, transform: 'none' }], timing);
}

/** Goes from step to step. @param {Step[]} steps */
export function navigate(steps) {
    const articles = steps.map((_, i) => /** @type {HTMLElement} */ (document.getElementById(`step-${i + 1}`)));
    const buttons = /** @type {HTMLButtonElement[]} */ ([...document.querySelectorAll('#steps button')]);
    const [back, next] = ['back', 'next'].map(id => /** @type {HTMLButtonElement} */ (document.getElementById(id)));
    let now = 0;

    /** @param {number} to @param {boolean} [focus] */
    function go(to, focus = false) {
        if (to < 0 || to >= steps.length) return;
        const before = places(articles[now]);
        articles.forEach((article, i) => { article.hidden = i !== to; });
        buttons.forEach((button, i) => {
            if (i === to) button.setAttribute('aria-current', 'step');
            else button.removeAttribute('aria-current');
        });
        const moved = now !== to;
        const focused = document.activeElement;
        now = to;
        back.disabled = now === 0;
        next.disabled = now === steps.length - 1;
        steps[now].draw();
        if (moved) {
            steps[now].enter?.();
            write(articles[now], before);
            history.replaceState(null, '', `#step-${now + 1}`);
        }
        // A button that is disabled loses the focus.
        if (focus || [back, next].some(arrow => arrow.disabled && arrow === focused)) /** @type {HTMLElement} */ (articles[now].querySelector('h3')).focus({ preventScroll: true });
    }

    buttons.forEach((button, i) => button.addEventListener('click', () => go(i, true)));
    back.addEventListener('click', () => go(now - 1));
    next.addEventListener('click', () => go(now + 1));
    document.addEventListener('keydown', event => {
        if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
        // Arrows belong to whatever they move already.
        const at = event.target;
        if (!(at instanceof Element) || at.closest('input, select, textarea')) return;
        if (at !== document.body && !at.closest('#derivation')) return;
        if (event.key === 'ArrowRight') go(now + 1, true);
        else if (event.key === 'ArrowLeft') go(now - 1, true);
        else return;
        event.preventDefault();
    });
    const asked = Number(/^#step-([1-5])$/.exec(location.hash)?.[1] ?? 1);
    go(asked - 1);
    return { draw: () => steps[now].draw() };
}
