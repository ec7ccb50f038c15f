// @ts-check
// Lines, bars and words in SVG, and how they move.

const SPACE = 'http://www.w3.org/2000/svg';

/** Whether things shall move at all. */
export const moves = () => !matchMedia('(prefers-reduced-motion: reduce)').matches;

/**
 * An element with attributes and children.
 * @param {string} name @param {Record<string, string | number>} [attributes] @param {...(Node | string)} children
 */
export function svg(name, attributes = {}, ...children) {
    const element = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    element.append(...children);
    return element;
}

/** @param {number} x @param {number} y @param {string} words @param {Record<string, string | number>} [more] */
export const text = (x, y, words, more = {}) => svg('text', { x, y, ...more }, words);

/** @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 @param {Record<string, string | number>} [more] */
export const line = (x1, y1, x2, y2, more = {}) => svg('line', { x1, y1, x2, y2, stroke: 'var(--line)', ...more });

/** A bar between two heights, whichever is above. @param {number} x @param {number} from @param {number} to @param {number} width @param {Record<string, string | number>} [more] */
export const bar = (x, from, to, width, more = {}) =>
    svg('rect', { x, y: Math.min(from, to), width, height: Math.abs(to - from), rx: 2, ...more });

/** A bar between two places on a line. @param {number} from @param {number} to @param {number} y @param {number} height @param {Record<string, string | number>} [more] */
export const beam = (from, to, y, height, more = {}) =>
    svg('rect', { x: Math.min(from, to), y, width: Math.abs(to - from), height, rx: 2, ...more });

/** An arrow. @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 @param {string} color */
export function arrow(x1, y1, x2, y2, color) {
    const [dx, dy] = [x2 - x1, y2 - y1];
    const length = Math.hypot(dx, dy) || 1;
    const head = Math.min(12, length);
    const [ux, uy] = [dx / length, dy / length];
    const [bx, by] = [x2 - ux * head, y2 - uy * head];
    const wing = head * 0.5;
    const points = `${x2},${y2} ${bx - uy * wing},${by + ux * wing} ${bx + uy * wing},${by - ux * wing}`;
    return svg('g', {}, line(x1, y1, bx, by, { stroke: color, 'stroke-width': 4 }), svg('polygon', { points, fill: color }));
}

/** Empties a picture and says how wide it is, in sixteenths of the page's letters. @param {SVGSVGElement} picture @param {number} height */
export function sheet(picture, height) {
    const unit = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    const width = Math.max(280, Math.round((picture.clientWidth || 600) / unit));
    picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
    picture.replaceChildren();
    return width;
}

/**
 * From 0 to 1 in so many milliseconds, slow at both ends; at once where nothing shall move.
 * @param {number} duration @param {(at: number) => void} draw @param {() => void} [done]
 */
export function animate(duration, draw, done) {
    if (!moves()) {
        draw(1);
        done?.();
        return () => {};
    }
    let stopped = false;
    const start = performance.now();
    const frame = (/** @type {number} */ now) => {
        if (stopped) return;
        const t = Math.min(1, Math.max(0, (now - start) / duration));
        draw(t * t * (3 - 2 * t));
        if (t < 1) requestAnimationFrame(frame);
        else done?.();
    };
    requestAnimationFrame(frame);
    return () => { stopped = true; };
}

/** A number in so many places, with a proper minus. @param {number} value @param {number} [places] */
export const shown = (value, places = 3) => {
    const text = value.toFixed(places);
    return (Number(text) === 0 ? text.replace('-', '') : text).replace('-', '−');
};

/** The same with its sign. @param {number} value @param {number} [places] */
export const signed = (value, places = 2) => {
    const text = shown(value, places);
    return text.startsWith('−') || Number(text) === 0 ? text : `+${text}`;
};
