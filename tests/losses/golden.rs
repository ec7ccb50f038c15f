//! Golden figures to 40 digits, computed independently of every trainer, and of this crate.

use dpo_kernel::loss::{
    AlphaDivergence, AlphaPo, ForwardKl, JensenShannon, Kto, Loss, LossName, LossOptions,
    Objective, PairLogProbs, PreferenceLoss, SimPo,
};
use dpo_kernel::training::length_offset;
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
};
use dpo_kernel::verify::Divergence;
use dpo_kernel::{Dpo, Reference, SequenceLogProb};

use crate::catalog::{GOLDEN, Parameters, expected, loss, reference};
use crate::close;

/// 1/10 is not an f64: its neighbour moves the figures by a unit in the last place of the
/// parameter.
const TOLERANCE: f64 = 1e-14;

const PAIR: PairLogProbs = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5).with_tokens(10, 12);

/// πc where the chosen answer has fallen below the reference: a = −½.
const FALLEN: PairLogProbs = PairLogProbs::new(-21.5, -25.25, -21.0, -24.5).with_tokens(10, 12);

/// The figures of a pair against those of the table, relative to the figures themselves.
#[track_caller]
fn check(what: &str, loss: &dyn PreferenceLoss, pair: &PairLogProbs, figures: (f64, f64, f64)) {
    let found = loss.evaluate(pair);
    let figures = [
        ("L", found.loss, figures.0),
        ("gc", found.d_chosen, figures.1),
        ("gr", found.d_rejected, figures.2),
    ];
    for (figure, found, expected) in figures {
        close(&format!("{what}, {figure}"), found / expected, 1.0, TOLERANCE);
    }
}

type Row = (LossName, Parameters, PairLogProbs, (f64, f64, f64));

/// Section by section of the table; parameters where they differ from β = 0.1.
fn table() -> Vec<Row> {
    use LossName as N;
    let p = GOLDEN;
    let plain = Parameters { epsilon: 0.0, ..p };
    let sign = |g: f64| (g, -g);
    let row = |name, p: Parameters, l: f64, g: f64| {
        let (gc, gr) = sign(g);
        (name, p, PAIR, (l, gc, gr))
    };
    let apart = |name, p: Parameters, l, gc, gr| (name, p, PAIR, (l, gc, gr));
    let exo = Parameters { epsilon: 1e-3, ..p };
    let forward = Parameters { divergence: Divergence::ForwardKl, ..plain };
    let js = Parameters { divergence: Divergence::JensenShannon, ..plain };
    // α_TRL = 0.3
    let alpha = Parameters { divergence: Divergence::Alpha(0.7), ..plain };
    vec![
        row(N::Sigmoid, plain, 0.632_599_035_317_169_07, -0.046_879_062_662_624_374),
        row(N::Sigmoid, p, 0.645_099_035_317_169_07, -0.036_879_062_662_624_374),
        row(N::Robust, p, 0.616_974_035_317_169_07, -0.059_379_062_662_624_374),
        apart(N::Ipo, p, 23.887_656_25, -0.9775, 0.814_583_333_333_333_33),
        row(N::IpoSum, p, 14.0625, -7.5),
        row(N::Hinge, p, 0.875, -0.1),
        row(N::Exo, exo, 2.547_624_537_324_592_8, -0.168_883_309_605_621_56),
        apart(
            N::Nca,
            p,
            1.355_864_542_433_327,
            -0.023_125_390_527_368_448,
            0.024_062_939_206_073_238,
        ),
        apart(
            N::Bco,
            Parameters { gap: 0.0, ..p },
            1.324_809_788_840_081_5,
            -0.048_750_260_351_578_966,
            0.048_125_878_412_146_476,
        ),
        apart(
            N::Bco,
            Parameters { gap: 0.05, ..p },
            1.325_746_215_877_114_4,
            -0.05,
            0.046_879_062_662_624_374,
        ),
        apart(N::SppoHard, Parameters { beta: 1e-3, ..p }, 498_750.812_5, -999.0, 998.5),
        apart(
            N::ApoZero,
            p,
            0.968_761_387_637_254_42,
            -0.024_984_381_508_111_645,
            0.024_964_876_682_739_414,
        ),
        apart(
            N::ApoDown,
            p,
            0.981_288_023_110_454_09,
            8.178_400_674_989_729_7e-5,
            0.024_902_597_501_361_747,
        ),
        row(N::DiscoPop, p, 0.863_540_105_182_498_15, -0.050_073_851_238_417_414),
        apart(
            N::SigmoidNorm,
            plain,
            0.687_538_000_789_018_58,
            -0.004_971_875_296_627_105_2,
            0.004_143_229_413_855_921,
        ),
        apart(
            N::SigmoidNorm,
            Parameters { beta: 5.0, ..plain },
            0.450_937_281_595_124_96,
            -0.181_484_602_759_808_41,
            0.151_237_168_966_507,
        ),
        apart(
            N::SimPo,
            Parameters { beta: 2.0, ..plain },
            0.908_034_535_505_176_52,
            -0.119_336_770_180_071_37,
            0.099_447_308_483_392_808,
        ),
        row(N::Cpo, plain, 0.483_589_087_870_824_73, -0.038_343_349_547_868_071),
        apart(
            N::Orpo,
            plain,
            0.066_266_295_197_341_356,
            -0.005_561_145_360_154_267_8,
            0.004_598_463_165_641_107_7,
        ),
        apart(
            N::AlphaPo,
            Parameters { beta: 2.0, ..plain },
            0.864_683_704_442_635_57,
            -0.193_261_738_629_588_49,
            0.163_247_187_319_934_95,
        ),
        row(N::DpopInside, p, 0.632_599_035_317_169_07, -0.046_879_062_662_624_374),
        (
            N::DpopInside,
            p,
            FALLEN,
            (0.811_962_002_049_703_71, -0.333_608_334_326_771_96, 0.055_601_389_054_461_994),
        ),
        (
            N::DpopOutside,
            p,
            FALLEN,
            (3.180_725_303_525_524_9, -5.049_375_032_550_049, 0.049_375_032_550_049),
        ),
        apart(
            N::Sigmoid,
            forward,
            0.620_472_902_823_422_33,
            -0.028_040_512_724_731_698,
            0.097_871_006_112_386_429,
        ),
        apart(
            N::Sigmoid,
            js,
            0.660_556_498_876_136_34,
            -0.018_251_683_105_562_502,
            0.032_833_957_806_079_751,
        ),
        apart(
            N::Sigmoid,
            alpha,
            0.625_211_876_584_271_16,
            -0.032_757_564_591_724_006,
            0.078_581_312_389_618_124,
        ),
        apart(
            N::CalDpo,
            p,
            19.408_179_081_345_373,
            -4.722_700_138_825_308_9,
            4.472_700_138_825_308_9,
        ),
        row(N::RpoSquare, p, 0.030_625, -0.035),
        row(N::RpoBackward, p, 0.003_771_231_290_682_270_2, -0.004_323_314_343_790_273),
        row(N::RpoForward, p, 0.003_794_568_810_950_707_6, -0.004_357_954_562_738_305_8),
    ]
}

#[test]
fn of_every_loss() {
    for (name, p, pair, figures) in table() {
        check(name.name(), &loss(name, &p), &pair, figures);
    }
}

/// The reference that the other tests compare with is held to the same figures. It subtracts where
/// the crate does not, so its small gradients are as exact as its large terms.
#[test]
fn of_the_reference() {
    for (name, p, pair, figures) in table() {
        let found = expected(&reference(name, &p), &pair);
        let what = name.name();
        close(&format!("{what}, L"), found.loss, figures.0, 4e-16);
        close(&format!("{what}, gc"), found.d_chosen, figures.1, 4e-16);
        close(&format!("{what}, gr"), found.d_rejected, figures.2, 4e-16);
    }
}

#[test]
fn of_offsets() {
    let dpo = Dpo::new(0.1).unwrap();
    let offset = length_offset(0.01, PAIR.chosen_tokens, PAIR.rejected_tokens).unwrap();
    let g = -0.047_377_409_062_793_126;
    check("R-DPO", &dpo, &PAIR.with_offset(offset), (0.642_024_672_948_695_43, g, -g));
    let g = -0.054_363_868_723_707_886;
    check("ODPO", &dpo, &PAIR.with_offset(0.3), (0.784_470_430_663_046_82, g, -g));
}

/// One at a time, as KTO sees them.
#[test]
fn of_labelled_answers() {
    let kto = Kto::new(0.1, 0.2).unwrap();
    let policy = [-20.5, -25.25].map(|sum| SequenceLogProb { sum, count: 10 });
    let figures = [
        (Label::Desirable, 0.492_500_562_449_379_61, -0.024_994_375_843_642_434),
        (Label::Undesirable, 0.476_267_845_873_438_91, 0.024_943_678_486_051_315),
    ];
    for (sequence, (label, loss, d)) in figures.into_iter().enumerate() {
        let answers = [UnpairedAnswer { sequence, label }];
        let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&[-21.0, -24.5]), 1.0);
        let (mut losses, mut d_log_probs) = ([AnswerLoss::default()], [f64::NAN; 2]);
        let out = UnpairedOut::new(&mut losses, &mut d_log_probs);
        unpaired_loss(&kto, &batch, out).unwrap();
        close("loss", losses[0].loss / loss, 1.0, TOLERANCE);
        close("gradient", d_log_probs[sequence] / d, 1.0, TOLERANCE);
        assert_eq!(d_log_probs[1 - sequence], 0.0, "the other answer");
    }
    let both = (0.492_500_562_449_379_61 + 0.476_267_845_873_438_91, figures[0].2, figures[1].2);
    check("both sides of a pair", &kto, &PAIR, both);
}

/// A loss named by its type has the bits of the one named at run time.
#[test]
fn types_and_names_agree() {
    let options = LossOptions { beta: Some(2.0), target_margin: Some(0.5), ..Default::default() };
    let by_name = |name: LossName, options: &LossOptions| match name.build(options).unwrap() {
        Objective::Pairs(loss) => loss,
        other => panic!("{other:?}"),
    };
    let same = |found: Loss, typed: &dyn PreferenceLoss| {
        assert_eq!(found.evaluate(&PAIR), typed.evaluate(&PAIR), "{found:?}");
        assert_eq!(found.inputs(), typed.inputs(), "{found:?}");
    };
    let simpo = SimPo::new(2.0, 0.5).unwrap();
    same(by_name(LossName::SimPo, &options), &simpo);
    same(by_name(LossName::SimPo, &options), &SimPo::with_ratio(2.0, 0.25).unwrap());
    same(by_name(LossName::AlphaPo, &options), &simpo);
    same(by_name(LossName::AlphaPo, &options), &AlphaPo::new(2.0, 0.5, 0.0).unwrap());
    let p = Parameters { epsilon: 0.0, ..GOLDEN };
    let dpo = Dpo::new(0.1).unwrap();
    let sigmoid = |divergence| loss(LossName::Sigmoid, &Parameters { divergence, ..p });
    same(sigmoid(Divergence::ReverseKl), &dpo);
    same(sigmoid(Divergence::ForwardKl), &dpo.with_divergence(ForwardKl));
    same(sigmoid(Divergence::JensenShannon), &dpo.with_divergence(JensenShannon));
    let alpha = AlphaDivergence::with_trl_alpha(0.75).unwrap();
    same(sigmoid(Divergence::Alpha(0.25)), &dpo.with_divergence(alpha));
}

/// The checker finds a wrong thirteenth digit, a wrong sign and a figure of another loss.
#[test]
fn planted_faults_are_caught() {
    let dpo = Dpo::new(0.1).unwrap();
    let right = (0.632_599_035_317_169_07, -0.046_879_062_662_624_374, 0.046_879_062_662_624_374);
    check("right", &dpo, &PAIR, right);
    let wrong = [
        (right.0 * (1.0 + 1e-12), right.1, right.2),
        (right.0, right.1 * (1.0 - 1e-12), right.2),
        (right.0, right.1, -right.2),
        (f64::NAN, right.1, right.2),
        (0.645_099_035_317_169_07, right.1, right.2),
    ];
    for figures in wrong {
        let caught = std::panic::catch_unwind(|| check("wrong", &dpo, &PAIR, figures));
        assert!(caught.is_err(), "{figures:?} passed");
    }
}
