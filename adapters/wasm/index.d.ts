// Types of dpo-kernel-wasm. Shapes: R rows of logits over a vocabulary of V, N sequences, P pairs, M answers.

/** Elements of logits. f16 and bf16 are their 16 bits as `Uint16Array` (f16 also as `Float16Array`). */
export type ElementType = 'f32' | 'f16' | 'bf16';

/** Logits of a type: a view of them. */
export type Elements<T extends ElementType = ElementType> = T extends 'f32' ? Float32Array : Uint16Array;

/** Numbers: an array or a typed array, none of whose memory is the module's own. */
export type Numbers = ArrayLike<number>;

/** Couples of integers, as `[[a, b], …]` or one after another. */
export type Couples = readonly (readonly [number, number])[] | Numbers;

/** Where a build's bytes come from. */
export type Source = string | URL | BufferSource | Response | WebAssembly.Module;

export interface LoadOptions<T extends ElementType = ElementType> {
    /** Of the logits; f32 by default. Each type has builds of its own. */
    type?: T;
    /** All losses (the default), or `sigmoid` alone in a smaller build. */
    losses?: 'all' | 'sigmoid';
    /** Whether the build with simd128 runs: by default where `hasSimd()`. */
    simd?: boolean;
    /** Where the file of this name is; `dist/` beside this module by default. */
    source?: (file: string) => Source | Promise<Source>;
}

/** Which build runs. */
export interface Build<T extends ElementType = ElementType> {
    readonly type: T;
    readonly losses: 'all' | 'sigmoid';
    readonly simd: boolean;
    readonly file: string;
}

/** Which rows are scored, and which sequence each belongs to. */
export interface Layout {
    /**
     * R: row t scores targets[t]: a model's output at position t predicts token t + 1. Token ids, or
     * -100 where a row is not scored. Labels of 64 bits are taken as they are.
     */
    targets: Numbers | BigInt64Array;
    /** The target of rows that are not scored, if it is not -100. */
    ignore?: number | bigint;
    /** N: the rows [start, end) of each sequence, in any order. They share no rows. */
    spans: Couples;
    /** V */
    vocab: number;
    /** R: a weight for each token; as f32. A token of weight 0 counts for nothing. */
    tokenWeights?: Numbers;
}

/** Logits with their layout. Rows that are not scored, and columns past V, are never read. */
export interface LogitsBatch<T extends ElementType = ElementType> extends Layout {
    /**
     * R × stride elements: a block, which stays where it is, or an array, which is copied in (and out). Of f16 also
     * a Float16Array, which TypeScript may not know.
     */
    logits: Block<T> | Elements<T> | (T extends 'f16' ? ArrayBufferView : never);
    /** R */
    rows: number;
    /** Elements from one row to the next, >= V; V by default. */
    stride?: number;
    /** y = softcap · tanh(scale · x / softcap) / temperature; 1, none and 1 by default. As f32. */
    scale?: number;
    softcap?: number;
    temperature?: number;
}

/** Log-probs of sequences, N: Σ w · log p, and how many tokens of weight other than 0. */
export interface Sequences {
    sums: Float64Array;
    counts: Uint32Array;
}

/** A loss by its name, with its options; defaults are the library's. */
export interface Loss {
    /** As trainers write it: `sigmoid`, `ipo`, `simpo`, `kto` … */
    name: string;
    beta?: number;
    label_smoothing?: number;
    target_margin?: number;
    target_margin_ratio?: number;
    reward_exponent?: number;
    blend_temperature?: number;
    reward_shift?: number;
    slic_margin?: number;
    drop_penalty?: number;
    odds_weight?: number;
    reference_kl?: number;
    desirable_weight?: number;
    undesirable_weight?: number;
    reward_gap?: number;
    centering?: number;
    advantage?: number;
    /** The f-divergence of losses of log-ratios. The last two need `divergence_alpha`. */
    divergence?: 'reverse_kl' | 'forward_kl' | 'jensen_shannon' | 'alpha_paper' | 'alpha_trl';
    divergence_alpha?: number;
}

/** What pairs and answers have in common. */
export interface OfLoss {
    loss: Loss | string;
    /** N: log-probs under the frozen model; none for losses without. With counts these are checked. */
    reference?: Numbers | { sums: Numbers; counts: Numbers };
    /** A weight for each pair or answer; as f32. One of weight 0 is as if it were not there. */
    weights?: Numbers;
    /** Divides gradients: the pairs (answers) of the whole, accumulated batch. Their number here by default. */
    divisor?: number;
}

export interface PairsBatch extends OfLoss {
    /** P: the chosen and the rejected sequence of each. */
    pairs: Couples;
    /** P: subtracted from the margin; as f32. */
    offsets?: Numbers;
}

export interface AnswersBatch extends OfLoss {
    /** M: the sequence of each, and its label, 1 (desirable) or 0. */
    answers: Couples;
}

export interface Written {
    /** What becomes of rows that are not scored and of padding: they stay (the default), or become 0. */
    unscored?: 'keep' | 'zero';
}

/** Sums over pairs; those of micro-batches add up. */
export interface Summary {
    pairs: number;
    /** Margin > 0. */
    correct: number;
    /** Margin = 0. */
    ties: number;
    /** Reward of the chosen answer < 0. */
    displaced: number;
    /** Margin >= 10, margin <= -10. */
    saturated: number;
    saturatedWrong: number;
    /** Of weight 0, in no other figure. */
    leftOut: number;
    lossSum: number;
    rewardChosenSum: number;
    rewardRejectedSum: number;
    marginSum: number;
}

/** Sums over answers. */
export interface UnpairedSummary {
    desirable: number;
    undesirable: number;
    leftOut: number;
    desirableLossSum: number;
    undesirableLossSum: number;
    desirableRewardSum: number;
    undesirableRewardSum: number;
}

/** Of each pair, P: nothing is divided. */
export interface PairLosses {
    loss: Float64Array;
    rewardChosen: Float64Array;
    rewardRejected: Float64Array;
    margin: Float64Array;
    dChosen: Float64Array;
    dRejected: Float64Array;
}

/** Of each answer, M: nothing is divided. */
export interface AnswerLosses {
    loss: Float64Array;
    reward: Float64Array;
    dLogProb: Float64Array;
}

/** Of a sweep over the logits. */
export interface Tokens {
    /** R: log p of each row's target, NaN where a row is not scored. */
    logProbs: Float32Array;
    /** Scored tokens, and those of them on the type's lowest finite value. */
    tokens: number;
    maskedTokens: number;
}

export interface LossResult<S> {
    /** The number whose gradient is meant: Σ L / divisor. */
    loss: number;
    summary: S;
    /** N: ∂(Σ L / divisor)/∂log π of each sequence. */
    dLogProbs: Float64Array;
}

export type PairResult = LossResult<Summary> & { pairs: PairLosses };
export type AnswerResult = LossResult<UnpairedSummary> & { answers: AnswerLosses };

/** Logits in the module's memory; made by `alloc`. */
export class Block<T extends ElementType = ElementType> {
    private constructor();
    readonly length: number;
    /** The elements. Ask anew after each call: memory that grows takes all views along, elements stay. */
    readonly view: Elements<T>;
    /** Some of them, in the same memory. */
    subblock(begin: number, end?: number): Block<T>;
    /** Gives the memory back. */
    free(): void;
}

/** A module that is loaded. Every method is synchronous; all but `alloc` may throw what the library reports. */
export class DpoKernel<T extends ElementType = ElementType> {
    private constructor();
    readonly build: Build<T>;
    /** Bytes of the module's memory: it grows, and never shrinks. */
    readonly memoryBytes: number;
    /** A block of logits, all 0. Throws `OutOfMemory`. */
    alloc(length: number): Block<T>;
    /** Logits → log-probs of tokens and of sequences: all that a reference needs. */
    score(batch: LogitsBatch<T>): Tokens & Sequences;
    /** Log-probs of tokens → of sequences. */
    sequenceLogProbs(batch: Layout & { logProbs: Numbers }): Sequences;
    /** Logits, pairs → losses; the gradients take the logits' place. */
    preferenceStep(batch: LogitsBatch<T> & PairsBatch & Written): PairResult & Tokens & { policy: Sequences };
    /** Logits, answers without a partner → losses; the gradients take the logits' place. */
    unpairedStep(batch: LogitsBatch<T> & AnswersBatch & Written): AnswerResult & Tokens & { policy: Sequences };
    /** Log-probs of sequences, pairs → losses and their gradients. */
    preferenceLoss(batch: PairsBatch & { policy: { sums: Numbers; counts: Numbers } }): PairResult;
    /** Log-probs of sequences, answers → losses and their gradients. */
    unpairedLoss(batch: AnswersBatch & { policy: { sums: Numbers; counts: Numbers } }): AnswerResult;
}

/** An error of the library (its `code` is the name of the Rust variant) or of an argument. */
export class DpoError extends Error {
    private constructor();
    readonly name: 'DpoError';
    readonly code: string;
    /** The fields of the error, by name. */
    readonly numbers: Readonly<Record<string, number | string>>;
    /**
     * What was found of all else: with `NonFiniteRows` of `score`, and with `NonFinitePairs` and
     * `NonFiniteAnswers` of a loss without logits.
     */
    readonly found?: object;
}

/** Whether this machine runs the builds with simd128. */
export function hasSimd(): boolean;

/** Loads a build. */
export function load<T extends ElementType = 'f32'>(options?: LoadOptions<T>): Promise<DpoKernel<T>>;
