//! Every public loss by every public constructor: it has the name that it says, the figures of the
//! loss of that name, and those of the reference.

use std::collections::BTreeSet;

use dpo_kernel::Dpo;
use dpo_kernel::loss::*;

use crate::catalog::{GOLDEN, Parameters, expected};
use crate::{close, coverage};

const PAIR: PairLogProbs = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5).with_tokens(10, 12);

/// A constructor by its path, the loss that it made, the name that the type says, and the
/// parameters that it was given.
struct Made {
    path: &'static str,
    name: LossName,
    loss: Box<dyn PreferenceLoss>,
    parameters: Parameters,
    /// L, ∂L/∂log π(y_w) and ∂L/∂log π(y_l) of `PAIR` by 50-digit arithmetic (mpmath).
    golden: Option<[f64; 3]>,
}

/// The plain parameters: what a constructor is not given is 0.
const PLAIN: Parameters =
    Parameters { epsilon: 0.0, gap: 0.0, centering: 0.0, gamma: 0.0, ..GOLDEN };

macro_rules! made {
    ($($type:ident::$new:ident($($argument:expr),*) $(.$with:ident($($option:expr),*))?
        => { $($parameter:ident: $value:expr),* } $(== $golden:expr)?;)*) => {
        vec![$(Made {
            path: concat!(stringify!($type), "::", stringify!($new) $(, "+", stringify!($with))?),
            name: $type::NAME,
            loss: {
                let loss = $type::$new($($argument),*).loss();
                $(let loss = loss.$with($($option),*).unwrap();)?
                Box::new(loss)
            },
            parameters: Parameters { $($parameter: $value,)* ..PLAIN },
            golden: None$(.or(Some($golden)))?,
        }),*]
    };
}

/// What a constructor returns, whether it can fail or not.
trait Constructed {
    type Loss;
    fn loss(self) -> Self::Loss;
}

impl<L> Constructed for Result<L, dpo_kernel::Error> {
    type Loss = L;
    fn loss(self) -> L {
        self.unwrap()
    }
}

impl Constructed for RewardModel {
    type Loss = Self;
    fn loss(self) -> Self {
        self
    }
}

fn all() -> Vec<Made> {
    made! {
        Dpo::new(0.1) => { beta: 0.1 };
        Dpo::new(0.1).with_label_smoothing(0.2) => { beta: 0.1, epsilon: 0.2 };
        SigmoidNorm::new(2.0) => { beta: 2.0 };
        SigmoidNorm::new(2.0).with_label_smoothing(0.2) => { beta: 2.0, epsilon: 0.2 };
        Robust::new(0.1, 0.3) => { beta: 0.1, epsilon: 0.3 };
        Hinge::new(0.1) => { beta: 0.1 };
        Ipo::new(0.1) => { beta: 0.1 };
        IpoSum::new(0.1) => { beta: 0.1 };
        Exo::new(0.1, 0.3) => { beta: 0.1, epsilon: 0.3 };
        DiscoPop::new(0.1, 0.3) => { beta: 0.1, tau: 0.3 };
        RpoForward::new(0.1, 0.3) => { beta: 0.1, gap: 0.3 };
        RpoBackward::new(0.1, 0.3) => { beta: 0.1, gap: 0.3 };
        RpoSquare::new(0.1, 0.3) => { beta: 0.1, gap: 0.3 };
        SimPo::new(2.0, 0.3) => { beta: 2.0, gamma: 0.3 };
        SimPo::new(2.0, 0.3).with_label_smoothing(0.2) => { beta: 2.0, gamma: 0.3, epsilon: 0.2 };
        SimPo::with_ratio(2.0, 0.25) => { beta: 2.0, gamma: 0.5 };
        Cpo::new(0.1) => { beta: 0.1 };
        Cpo::new(0.1).with_label_smoothing(0.2) => { beta: 0.1, epsilon: 0.2 };
        CpoHinge::new(0.1) => { beta: 0.1 };
        CpoIpo::new(0.1) => { beta: 0.1 };
        Slic::new(8.0) => { delta: 8.0 };
        AlphaPo::new(2.0, 0.3, 0.25) => { beta: 2.0, gamma: 0.3, alpha: 0.25 };
        AlphaPo::new(2.0, 0.3, 0.25).with_label_smoothing(0.2)
            => { beta: 2.0, gamma: 0.3, alpha: 0.25, epsilon: 0.2 };
        Orpo::new(0.3) => { beta: 0.3 };
        Orpo::new(0.3).with_label_smoothing(0.2) => { beta: 0.3, epsilon: 0.2 }
            == [0.202_514_508_214_061_863, -0.009_796_898_303_720_054, 0.008_100_970_765_838_568];
        Tpo::new(0.1) => { beta: 0.1 }
            == [0.483_589_087_870_824_73, -0.038_343_349_547_868_07, 0.038_343_349_547_868_07];
        Tpo::new(0.1).with_label_smoothing(0.2) => { beta: 0.1, epsilon: 0.2 }
            == [0.578_589_087_870_824_73, -0.018_343_349_547_868_07, 0.018_343_349_547_868_07];
        TpoHinge::new(0.1) => { beta: 0.1 }
            == [0.525, -0.1, 0.1];
        TpoIpo::new(0.1) => { beta: 0.1 }
            == [24.461_267_361_111_111, -0.989_166_666_666_666_67, 0.824_305_555_555_555_56];
        TpoL::new(0.1, 0.3) => { beta: 0.1, gamma: 0.3 }
            == [0.851_247_268_033_14, -0.005_731_178_367_110_525, 0.004_775_981_972_592_104];
        TpoL::new(0.1, 0.3).with_label_smoothing(0.2) => { beta: 0.1, gamma: 0.3, epsilon: 0.2 }
            == [0.792_330_601_366_473_34, -0.003_731_178_367_110_525, 0.003_109_315_305_925_437];
        RewardModel::new() => {}
            == [0.008_614_483_762_175_558, -0.008_577_485_413_711_985, 0.008_577_485_413_711_985];
        RewardModel::new().with_centering(0.02) => { centering: 0.02 }
            == [41.869_864_483_762_176, -1.838_577_485_413_711_985, -1.821_422_514_586_288_015];
        Nca::new(0.1) => { beta: 0.1 };
        Bco::new(0.1) => { beta: 0.1 };
        Bco::new(0.1).with_shift(0.3) => { beta: 0.1, gap: 0.3 };
        SppoHard::new(0.1) => { beta: 0.1 };
        ApoZero::new(0.1) => { beta: 0.1 };
        ApoDown::new(0.1) => { beta: 0.1 };
        Kto::new(0.1, 0.3) => { beta: 0.1, kl: 0.3 };
        Kto::new(0.1, 0.3).with_weights(1.5, 0.5) => { beta: 0.1, kl: 0.3, weights: (1.5, 0.5) };
        CalDpo::new(0.1) => { beta: 0.1 };
        DpopInside::new(0.1, 7.0) => { beta: 0.1, lambda: 7.0 };
        DpopOutside::new(0.1, 7.0) => { beta: 0.1, lambda: 7.0 };
    }
}

/// The chosen answer below the reference and above it: losses that differ on one side alone differ
/// here.
fn pairs() -> [PairLogProbs; 3] {
    let fallen = PairLogProbs::new(-21.5, -25.25, -21.0, -24.5).with_tokens(10, 12);
    let lost = PairLogProbs::new(-30.5, -12.25, -21.0, -24.5).with_tokens(3, 4);
    [PAIR, fallen, lost]
}

#[test]
fn are_what_their_names_say() {
    for Made { path, name, loss, parameters, golden } in all() {
        let found = loss.evaluate(&PAIR);
        let found = [found.loss, found.d_chosen, found.d_rejected];
        for (found, golden) in found.into_iter().zip(golden.into_iter().flatten()) {
            close(path, found / golden, 1.0, 1e-14);
        }
        let by_name = crate::catalog::loss(name, &parameters);
        assert_eq!(by_name.name(), name, "{path}");
        let reference = crate::catalog::reference(name, &parameters);
        for pair in pairs() {
            let found = loss.evaluate(&pair);
            assert_eq!(found, by_name.evaluate(&pair), "{path}: {}", name.name());
            let expected = expected(&reference, &pair);
            close(path, found.loss, expected.loss, 1e-14);
            close(path, found.d_chosen, expected.d_chosen, 1e-14);
            close(path, found.d_rejected, expected.d_rejected, 1e-14);
            assert_eq!(found.margin, expected.margin, "{path}");
        }
    }
}

/// By hand: 1 − 0.1·(−20.5 + 25.25), where an alias once made `SLiC` with δ = 0.1, whose loss is 0.
#[test]
fn a_hinge_on_rewards_is_no_slic() {
    let found = CpoHinge::new(0.1).unwrap().evaluate(&PAIR);
    close("CpoHinge", found.loss, 0.525, 1e-15);
    assert_eq!((found.d_chosen, found.d_rejected), (-0.1, 0.1));
    assert_eq!(Slic::new(0.1).unwrap().evaluate(&PAIR).loss, 0.0);
    assert_ne!(
        RpoForward::new(0.1, 0.3).unwrap().evaluate(&PAIR),
        Exo::new(0.1, 0.3).unwrap().evaluate(&PAIR)
    );
}

/// What a loss was made of can be read.
#[test]
fn parameters_are_kept() {
    use dpo_kernel::verify;
    assert_eq!(Slic::new(0.25).unwrap().delta(), 0.25);
    assert_eq!(Orpo::new(0.25).unwrap().lambda(), 0.25);
    assert_eq!(Dpo::new(0.25).unwrap().with_divergence(JensenShannon).beta(), 0.25);
    assert_eq!(CpoHinge::new(0.25).unwrap().beta(), 0.25);
    // A function of one's own takes a divergence as DPO does.
    let curve = |z: f64| Tangent { value: verify::softplus(-z), slope: -verify::sigmoid(-z) };
    let own = CurveLoss::new(0.25, curve).unwrap().with_divergence(ForwardKl);
    let dpo = Dpo::new(0.25).unwrap().with_divergence(ForwardKl);
    assert_eq!(own.beta(), 0.25);
    assert_eq!(format!("{own:?}"), "CurveLoss { beta: 0.25, .. }");
    let (found, expected) = (own.evaluate(&PAIR), dpo.evaluate(&PAIR));
    close("a function under the forward KL", found.loss, expected.loss, 1e-15);
    close("its gradient", found.d_rejected, expected.d_rejected, 1e-15);
}

/// Those that are no losses of pairs say their names too.
#[test]
fn others_say_their_names() {
    let built = |name: LossName| crate::catalog::build(name, &GOLDEN).1;
    assert_eq!(built(AStarPo::NAME), Objective::Unpaired(AStarPo::new(0.1, 0.3).unwrap()));
    assert_eq!(built(SoftmaxDpo::NAME), Objective::Groups(SoftmaxDpo::new(0.1).unwrap()));
    assert_eq!(built(Nll::NAME), Objective::Nll);
    for aot in [Aot::paired(0.1).unwrap(), Aot::unpaired(0.1).unwrap()] {
        let smoothed = aot.with_label_smoothing(GOLDEN.epsilon).unwrap();
        assert_eq!(built(aot.name()), Objective::Batch(smoothed));
    }
}

/// Losses with golden figures here.
pub fn with_golden_figures() -> Vec<LossName> {
    all().iter().filter(|made| made.golden.is_some()).map(|made| made.name).collect()
}

/// Constructors that stand in the sources: functions of an `impl` that return it.
fn in_the_sources() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in coverage::text_of("src/loss") {
        for part in text.split("\nimpl").skip(1) {
            let owner: String =
                part.trim_start().chars().take_while(|c| c.is_alphanumeric()).collect();
            // Generics come first in impls of functions or divergences, which make nothing new
            // here.
            let body = part.split_once("\n}").map_or(part, |(body, _)| body);
            for function in body.split("    pub ").skip(1) {
                let function = function.strip_prefix("const ").unwrap_or(function);
                let Some(function) = function.strip_prefix("fn ") else { continue };
                let signature = function.split_once(" {").map_or(function, |(head, _)| head);
                let name = signature.split(['(', '<']).next().unwrap();
                if signature.contains("-> Self") || signature.contains("-> Result<Self") {
                    found.insert(format!("{owner}::{name}"));
                }
            }
        }
    }
    found
}

/// No constructor, and no loss, is missing from the list above.
#[test]
fn all_are_listed() {
    // No losses, and losses whose constructors have tests of their own.
    let others = [
        "AlphaDivergence::with_paper_alpha",
        "AlphaDivergence::with_trl_alpha",
        "Aot::paired",
        "Aot::unpaired",
        "Aot::with_label_smoothing",
        "AStarPo::new",
        "Inputs::and",
        "Inputs::with_offsets",
        "Inputs::with_reference",
        "Inputs::with_tokens",
        "SoftmaxDpo::new",
        "Xpo::new",
    ];
    // With generics of their own, in files that the list does not cover.
    let is_other = |path: &String| others.contains(&path.as_str()) || path.starts_with("::");
    let listed: BTreeSet<String> = all()
        .iter()
        .flat_map(|made| {
            let (new, with) = made.path.split_once('+').unwrap_or((made.path, ""));
            let owner = new.split("::").next().unwrap();
            [new.to_owned(), format!("{owner}::{with}")]
        })
        .collect();
    let missing: Vec<String> =
        in_the_sources().into_iter().filter(|p| !is_other(p) && !listed.contains(p)).collect();
    let nll = |path: &String| path.starts_with("Nll") || path.starts_with("Mixture");
    let missing: Vec<&String> = missing.iter().filter(|path| !nll(path)).collect();
    assert!(missing.is_empty(), "{missing:?} are constructors that no test constructs by");
    for name in crate::catalog::names() {
        assert!(all().iter().any(|made| made.name == name), "no constructor of {name:?}");
    }
    for (type_, sources) in [("Dpo", "label_smoothing!(Dpo"), ("TpoL", "TpoL);")] {
        let smoothed = format!("{type_}::new+with_label_smoothing");
        assert!(all().iter().any(|made| made.path == smoothed), "{sources}");
    }
}

/// The scan sees what it is to see.
#[test]
fn planted_faults_are_caught() {
    let found = in_the_sources();
    assert!(found.len() > 30, "{found:?}");
    for path in ["Dpo::new", "SimPo::with_ratio", "Kto::with_weights", "RewardModel::new"] {
        assert!(found.contains(path), "{path} is not in {found:?}");
    }
    let wrong = Slic::new(0.1).unwrap();
    let right = crate::catalog::loss(CpoHinge::NAME, &Parameters { beta: 0.1, ..PLAIN });
    assert_ne!(wrong.evaluate(&PAIR), right.evaluate(&PAIR), "the fault of the alias");
}
