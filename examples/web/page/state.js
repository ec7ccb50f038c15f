// @ts-check
// What a person has moved, and what everything is drawn from.

/** @typedef {import('./wasm.js').Module} Module */

export const ANSWERS = ['“Gladly!”', '“Yes.”', '“Perhaps.”', '“No.”', '“Go away.”'];
/** How often the reference gives each. */
export const REFERENCE = [0.12, 0.3, 0.28, 0.2, 0.1];

export const state = {
    rewards: [1.5, 1, 0, -0.5, -1.5],
    /** Heights of the policy's bars; they are probabilities once normalised. */
    policy: [...REFERENCE],
    beta: 0.5,
    /** f(x), added to every reward. */
    shift: 0,
    /** Which answers are compared in step 4. */
    chosen: 0,
    rejected: 3,
    /** log π − log π_ref of the two answers in step 5. */
    ratios: { chosen: 0, rejected: 0 },
    lossBeta: 0.5,
};

/** The policy's probabilities. */
export function probabilities() {
    const sum = state.policy.reduce((sum, height) => sum + height, 0);
    return state.policy.map(height => height / sum);
}

/** Rewards with f(x). */
export const rewards = () => state.rewards.map(reward => reward + state.shift);

/** Steps 1 to 3 as they are now. @param {Module} module */
export const answers = module => module.answers(REFERENCE, rewards(), probabilities(), state.beta);
