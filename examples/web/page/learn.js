// @ts-check
// The panel of the model that learns: what is asked of the worker, and what it tells.
import { chart } from './charts.js';

/** @typedef {import('./worker.js').Told} Told */
/** @typedef {import('./worker.js').Asked} Asked */
/** @typedef {import('./worker.js').Figures} Figures */
/** @typedef {import('./worker.js').Source} Source */

const STEPS = 100;

/** Names, what they are called, β (as rust/src/objective.rs has it), and what to look at. */
const LOSSES = /** @type {const} */ ([
    ['sigmoid', 'DPO', 0.1, 'DPO. Watch the chosen answers: their log-ratio falls too, only more slowly. With longer chosen answers the policy grows verbose far beyond its data: the length exploit.'],
    ['r_dpo', 'R-DPO', 0.1, 'R-DPO (Park et al. 2024): each letter that the chosen answer is longer by counts as 0.05 rewards already, so a long answer need not be pushed.'],
    ['ld_dpo', 'LD-DPO', 0.1, 'LD-DPO (Liu et al. 2024): letters past the length of the shorter answer do not count, its end included: nothing here teaches the model to stop.'],
    ['ipo', 'IPO', 2, 'IPO (Azar et al. 2023): a gap of 1/(2β) nats a letter is enough, and the loss goes no further: nothing runs away.'],
    ['dpop_inside', 'DPOP', 0.1, 'DPOP (Pal et al. 2024): a chosen answer that falls below the reference is dear. The chosen log-ratio stays above 0.'],
    ['orpo', 'ORPO', NaN, 'ORPO (Hong et al. 2024): no reference and no β; likelihood of the chosen answers, and odds.'],
    ['cpo', 'CPO', 0.1, 'CPO (Xu et al. 2024): no reference; likelihood of the chosen answers keeps them up.'],
    ['simpo', 'SimPO', 10, 'SimPO (Meng et al. 2024): means over letters, no reference. Means do not reward length, but nothing holds the policy either.'],
    ['sigmoid_norm', 'DPO of means', 10, 'Length-normalised DPO (Tülu 3, Lambert et al. 2024): log-ratios a letter.'],
]);

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function byId(id, kind) {
    const found = document.getElementById(id);
    if (!(found instanceof kind)) throw new Error(`no ${id}`);
    return found;
}

/** A name as a shell reads it back. @param {string} name */
const quoted = name => (/^[\w.,@%+=:][\w.,@%+=:-]*$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);

export function learning() {
    const [loss, beta, rate] = [byId('loss', HTMLSelectElement), byId('beta', HTMLInputElement), byId('rate', HTMLInputElement)];
    const longer = byId('longer', HTMLInputElement);
    const [start, pause] = [byId('start', HTMLButtonElement), byId('pause', HTMLButtonElement)];
    const status = byId('status', HTMLElement);
    const pairsStatus = byId('pairs-status', HTMLElement);
    const wanted = new URL(location.href).searchParams.get('module');
    const url = new URL('worker.js', import.meta.url);
    if (wanted === 'page.wasm' || wanted === 'page.simd.wasm') url.searchParams.set('module', wanted);
    const worker = new Worker(url, { type: 'module' });
    const ask = (/** @type {Asked} */ asked, /** @type {Transferable[]} */ transfer = []) => worker.postMessage(asked, transfer);

    loss.append(...LOSSES.map(([name, words]) => new Option(words, name)));
    loss.addEventListener('change', chooseLoss);
    const [use, builtIn] = [byId('use', HTMLButtonElement), byId('built-in', HTMLButtonElement)];
    const [typed, chooser] = [byId('pairs', HTMLTextAreaElement), byId('file', HTMLInputElement)];
    /** @type {Figures[]} */
    let history = [];
    let until = STEPS;
    let running = false;
    let ready = false;
    /** The run at hand: what the worker says of others came too late. */
    let run = 0;
    /** What it was started with. */
    let options = '';
    let command = '';

    function chooseLoss() {
        const [, , usual, words] = LOSSES[loss.selectedIndex];
        beta.disabled = Number.isNaN(usual);
        beta.value = beta.disabled ? '' : String(usual);
        byId('about-loss', HTMLElement).textContent = words;
    }

    /** @param {string} words @param {boolean} [wrong] @param {HTMLElement} [where] */
    function say(words, wrong = false, where = status) {
        where.textContent = words;
        where.classList.toggle('wrong', wrong);
    }

    function buttons() {
        start.disabled = use.disabled = builtIn.disabled = chooser.disabled = !ready;
        start.textContent = history.length ? 'Start again' : 'Start';
        pause.disabled = !ready || !history.length;
        pause.textContent = running || !history.length ? 'Pause' : (history.at(-1)?.step ?? 0) >= until ? `${STEPS} more` : 'Go on';
    }

    byId('settings', HTMLFormElement).addEventListener('submit', event => {
        event.preventDefault();
        if (!ready) return;
        const settings = {
            loss: loss.value, beta: beta.disabled ? NaN : beta.valueAsNumber, rate: rate.valueAsNumber, longer: longer.checked, seed: 1,
        };
        const bad = /** @type {const} */ ([['β', beta], ['The learning rate', rate]])
            .find(([, input]) => !input.disabled && !(Number.isFinite(input.valueAsNumber) && input.valueAsNumber > 0));
        for (const input of [beta, rate]) {
            if (input === bad?.[1]) input.setAttribute('aria-invalid', 'true');
            else input.removeAttribute('aria-invalid');
        }
        if (bad) {
            say(`${bad[0]} is ${bad[1].value === '' ? 'no number' : bad[1].value}: it is a finite number above 0.`, true);
            bad[1].focus();
            return;
        }
        history = [];
        until = STEPS;
        running = true;
        run++;
        options = `dpo-kernel-web run --loss ${settings.loss}${beta.disabled ? '' : ` --beta ${settings.beta}`} --rate ${settings.rate}`
            + `${settings.longer ? ' --longer' : ''}`;
        say('Scoring all pairs under the reference.');
        ask({ type: 'start', run, settings, steps: until });
        buttons();
    });
    pause.addEventListener('click', () => {
        if (running) {
            ask({ type: 'pause', run });
            return;
        }
        if ((history.at(-1)?.step ?? 0) >= until) until += STEPS;
        running = true;
        ask({ type: 'resume', run, steps: until });
        buttons();
    });

    function draw() {
        const points = (/** @type {(figures: Figures) => number} */ of) => history.map(figures => /** @type {[number, number]} */ ([figures.step, of(figures)]));
        const last = history.at(-1);
        const heldOut = !last || last.heldOut.pairs > 0;
        byId('ratio-side', HTMLElement).textContent = heldOut ? 'held out' : 'trained on';
        byId('samples-title', HTMLElement).textContent = `Answers to prompts that ${heldOut ? 'were held out' : 'are trained on'}`;
        const share = (/** @type {import('./worker.js').Side} */ side) => (side.pairs ? side.correct / side.pairs : NaN);
        chart('chart-loss', [
            { name: 'trained on', color: 'var(--blue)', points: points(f => f.train.loss) },
            { name: 'held out', color: 'var(--purple)', dash: '6 4', points: points(f => (f.heldOut.pairs ? f.heldOut.loss : NaN)) },
        ], until, { places: 3 });
        chart('chart-ratio', [
            { name: 'chosen', color: 'var(--blue)', points: points(f => (f.heldOut.pairs ? f.heldOut.chosen : f.train.chosen)) },
            { name: 'rejected', color: 'var(--red)', points: points(f => (f.heldOut.pairs ? f.heldOut.rejected : f.train.rejected)) },
        ], until);
        chart('chart-accuracy', [
            { name: 'trained on', color: 'var(--blue)', points: points(f => share(f.train)) },
            { name: 'held out', color: 'var(--purple)', dash: '6 4', points: points(f => share(f.heldOut)) },
        ], until, { low: 0, high: 1.05 });
        chart('chart-length', [
            { name: 'policy', color: 'var(--blue)', points: points(f => f.lengths.policy) },
            { name: 'reference', color: 'var(--red)', dash: '6 4', points: points(f => f.lengths.reference) },
        ], until, { places: 1, marks: last ? [['chosen in the data', last.lengths.chosen], ['rejected in the data', last.lengths.rejected]] : [] });
    }

    /** @param {import('./worker.js').Counts} counts @param {Source} source */
    function tellPairs({ train, heldOut, cut, replaced, leftOut }, { name }) {
        const parts = [
            `${train} to train on, ${heldOut} held out`, leftOut ? `${leftOut} left out, empty or equal` : '',
            cut ? `${cut} texts cut` : '', replaced ? `${replaced} characters that the model lacks read as spaces` : '',
        ];
        say(`${name || 'The page’s own pairs'}: ${parts.filter(Boolean).join('; ')}.`, false, pairsStatus);
    }

    /** The pairs that a run was started with, and how a PC gets them. @param {number} train @param {Source} source */
    function tellSource(train, { name, typed }) {
        byId('pair-count', HTMLElement).textContent = name ? `${train} of your pairs` : `its ${train} pairs`;
        byId('saved', HTMLElement).textContent = typed ? 'Save the pairs that you typed as FILE first.' : '';
        command = `${options}${name ? ` --data ${typed ? 'FILE' : quoted(name)}` : ''} --steps `;
    }

    worker.addEventListener('message', event => {
        const told = /** @type {Told} */ (event.data);
        if ('run' in told && told.run !== run) return;
        switch (told.type) {
            case 'ready':
                ready = true;
                say('Ready.');
                byId('module', HTMLElement).textContent = `${told.module} runs${told.module.includes('simd') ? ', with simd128' : ', without simd128'}:`;
                byId('speed', HTMLElement).textContent = `${Math.round(told.speed)} million logits a second, forward and backward.`;
                byId('pair-count', HTMLElement).textContent = `its ${told.counts.train} pairs`;
                break;
            case 'started':
                tellSource(told.counts.train, told.source);
                break;
            case 'figures':
                if (history.at(-1)?.step !== told.figures.step) history.push(told.figures);
                say(`Step ${told.figures.step} of ${until}.`);
                byId('digest', HTMLOutputElement).textContent = told.figures.digest;
                byId('command', HTMLElement).textContent = command + told.figures.step;
                draw();
                break;
            case 'samples':
                byId('samples', HTMLElement).replaceChildren(...told.samples.map(({ prompt, reference, policy }) => {
                    const row = document.createElement('tr');
                    row.append(...[prompt, reference, policy].map(words => Object.assign(document.createElement('td'), { textContent: words || '(nothing)' })));
                    return row;
                }));
                break;
            case 'stopped':
                running = false;
                say(told.done ? `Done: ${history.at(-1)?.step} steps.` : `Paused at step ${history.at(-1)?.step}.`);
                break;
            case 'pairs':
                tellPairs(told.counts, told.source);
                break;
            case 'failed':
                running = false;
                say(told.why, true);
                break;
            case 'refused':
                say(told.why, true, pairsStatus);
                break;
            case 'broken':
                say(`The page cannot work: ${told.why}`, true);
                break;
        }
        buttons();
    });
    worker.addEventListener('error', event => say(`The page cannot work: ${event.message || 'its worker did not start'}`, true));

    /** @param {Blob} blob @param {Source} source */
    async function read(blob, source) {
        byId('own', HTMLDetailsElement).open = true;
        if (!ready) {
            say('The model is not loaded yet: bring the pairs again when it is.', true, pairsStatus);
            return;
        }
        say(`Reading ${source.name}.`, false, pairsStatus);
        try {
            const bytes = new Uint8Array(await blob.arrayBuffer());
            ask({ type: 'pairs', bytes, source }, [bytes.buffer]);
        } catch (error) {
            say(`${source.name} cannot be read: ${error instanceof Error ? error.message : error}`, true, pairsStatus);
        }
    }
    use.addEventListener('click', () => read(new Blob([typed.value]), { name: 'pairs.jsonl', typed: true }));
    builtIn.addEventListener('click', () => ask({ type: 'built-in' }));
    chooser.addEventListener('change', () => {
        const [chosen] = chooser.files ?? [];
        if (chosen) read(chosen, { name: chosen.name, typed: false });
        chooser.value = '';
    });
    // Text that is dragged into a field is the browser's matter.
    const files = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes('Files');
    addEventListener('dragover', event => {
        if (!files(event)) return;
        event.preventDefault();
        document.body.classList.add('dropping');
    });
    addEventListener('dragleave', () => document.body.classList.remove('dropping'));
    addEventListener('drop', event => {
        document.body.classList.remove('dropping');
        if (!files(event)) return;
        event.preventDefault();
        const dropped = [...event.dataTransfer?.files ?? []];
        if (dropped.length === 1) read(dropped[0], { name: dropped[0].name, typed: false });
        else {
            byId('own', HTMLDetailsElement).open = true;
            say(`${dropped.length} files were dropped: one is read at a time.`, true, pairsStatus);
        }
    });

    chooseLoss();
    buttons();
    draw();
    return { draw };
}
