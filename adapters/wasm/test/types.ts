// What a host writes must type-check, and what it must not write must not. Checked by tsc, never run.
import { DpoError, load } from '../index.js';
import type { Block, DpoKernel, PairResult } from '../index.js';

const dpo: DpoKernel<'f32'> = await load();
const block: Block<'f32'> = dpo.alloc(20);
block.view.set(new Float32Array(20));
const layout = { targets: [1, -100], spans: [[0, 1], [1, 2]] as [number, number][], vocab: 10, rows: 2 };
const step = dpo.preferenceStep({ ...layout, logits: block, pairs: [[0, 1]], reference: [-1, -2], loss: 'sigmoid' });
const result: PairResult = step;
result.pairs.margin.at(0)?.toFixed(2);
step.policy.sums.at(0);
dpo.score({ ...layout, logits: new Float32Array(20) }).logProbs.at(0);

const half = await load({ type: 'bf16', losses: 'sigmoid' });
const bits: Uint16Array = half.alloc(20).view;
half.score({ ...layout, logits: bits });

// @ts-expect-error no such type
await load({ type: 'f64' });
// @ts-expect-error a block of another type
half.score({ ...layout, logits: block });
// @ts-expect-error elements of another type
dpo.score({ ...layout, logits: new Int32Array(20) });
// @ts-expect-error pairs are missing
dpo.preferenceStep({ ...layout, logits: block, loss: 'sigmoid' });
// @ts-expect-error an option that no loss has
dpo.preferenceStep({ ...layout, logits: block, pairs: [[0, 1]], loss: { name: 'ipo', tau: 1 } });
// @ts-expect-error a constructor that is not for hosts
new DpoError();
