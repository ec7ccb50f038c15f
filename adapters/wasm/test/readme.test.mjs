// The README's example runs, and says what it says.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const read = (file) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');

test('the example of the README', async () => {
    const [, program] = /^## Example\n\n```js\n([^]*?)^```$/m.exec(read('README.md'));
    const [, said] = /console\.log\(.*\); \/\/ (.*?):/.exec(program);
    const runnable = program.replace('\'dpo-kernel-wasm\'', `'${new URL('../index.js', import.meta.url)}'`);
    assert.notEqual(runnable, program);
    const lines = [];
    const { log } = console;
    console.log = (...line) => lines.push(line.join(' '));
    try {
        await import(`data:text/javascript,${encodeURIComponent(runnable)}`);
    } finally {
        console.log = log;
    }
    assert.deepEqual(lines, [said]);
});

test('every code and method of the README is in the program', () => {
    const [text, types, errors] = [read('README.md'), read('index.d.ts'), read('js/errors.js')];
    const methods = [...text.matchAll(/^\| `(\w+)`(?:, `(\w+)`)? \|/gm)].flatMap(([, a, b]) => [a, b].filter(Boolean));
    assert.ok(methods.length >= 6);
    for (const name of methods) assert.match(types, new RegExp(`^    ${name}\\(`, 'm'));
    const [, codes] = /Codes of this module:([^.]*)\./.exec(text.replaceAll('\n', ' '));
    const sources = ['index.js', 'js/heap.js', 'js/arrays.js', 'js/load.js'].map(read).join('') + errors;
    const named = [...codes.matchAll(/`(\w+)`/g)].map(([, code]) => code);
    assert.ok(named.length >= 10);
    for (const code of named) assert.ok(sources.includes(`'${code}'`), code);
    const thrown = [...sources.matchAll(/new DpoError\(\s*'(\w+)'/g)].map(([, code]) => code);
    for (const code of new Set(thrown)) assert.ok(named.includes(code), `${code} is not in the README`);
});
