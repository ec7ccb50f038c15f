//! Each cause, planted on random dumps, from both sides: how often it is named, alone and with its
//! numbers. Where nothing is planted, nothing may be named.
//!
//! `DPO_AUDIT_SEEDS` sets the dumps of each cause; 6 without.

use std::path::Path;

use serde_json::Value;

use crate::files::{log_probs, logits, tensors, tokens};
use crate::random::{Case, Random, bf16, f16, log_prob, single};
use crate::{folder, report};

fn seeds() -> u64 {
    std::env::var("DPO_AUDIT_SEEDS").map_or(6, |x| x.parse().unwrap())
}

/// What one side dumps.
enum Dump {
    Logits(Case),
    Bf16Logits(Case),
    LogProbs(Vec<f64>),
}

/// Whether causes are the right ones, given the names of the sides.
type Right = dyn Fn(&[Value], &str, &str) -> bool;

/// Two dumps, options for the first, and whether a verdict is right.
struct Planted {
    x: Dump,
    y: Dump,
    options_x: Vec<String>,
    right: Box<Right>,
}

impl Planted {
    fn new(x: Dump, y: Dump, right: impl Fn(&[Value], &str, &str) -> bool + 'static) -> Self {
        Self { x, y, options_x: Vec::new(), right: Box::new(right) }
    }
}

fn write(path: &Path, of: &Dump, ids: &[i64]) -> String {
    let first = match of {
        Dump::Logits(case) => logits(case, "F32"),
        Dump::Bf16Logits(case) => logits(case, "BF16"),
        Dump::LogProbs(x) => log_probs(x),
    };
    tensors(path, &[first, tokens(ids)])
}

/// At least 95 % of the verdicts are right, of all seeds and both orders.
#[track_caller]
fn named(name: &str, plant: impl Fn(&Case, &mut Random) -> Planted) {
    let folder = folder(&format!("planted-{name}"));
    let (mut right, mut all, mut wrong) = (0, 0, Value::Null);
    for seed in 0..seeds() {
        let mut random = Random::new(seed);
        // Doubtful and confident models in turn.
        let case =
            if seed % 2 == 0 { Case::new(&mut random) } else { Case::confident(&mut random) };
        let planted = plant(&case, &mut random);
        let x = write(&folder.join("x.safetensors"), &planted.x, &case.tokens);
        let y = write(&folder.join("y.safetensors"), &planted.y, &case.tokens);
        for (a, b, of_x, of_y) in [(&x, &y, "A", "B"), (&y, &x, "B", "A")] {
            let own = |part: &String| part.replace("--x-", &format!("--{}-", of_x.to_lowercase()));
            let options: Vec<String> = planted.options_x.iter().map(own).collect();
            let mut arguments = vec![a.as_str(), b.as_str()];
            arguments.extend(options.iter().map(String::as_str));
            let (status, found) = report(&arguments, &folder);
            let verdict = &found["verdict"];
            let causes = verdict["causes"].as_array().unwrap();
            assert_eq!(status, u8::from(verdict["agree"] != Value::Bool(true)));
            all += 1;
            if (planted.right)(causes, of_x, of_y) {
                right += 1;
            } else {
                wrong = verdict.clone();
            }
        }
    }
    println!("{name}: {right} of {all}");
    assert!(
        f64::from(right) >= 0.95 * f64::from(all),
        "{name}: {right} of {all}, such as {wrong:#}"
    );
}

/// The one cause, with no other as good.
fn alone<'a>(causes: &'a [Value], kind: &str) -> Option<&'a Value> {
    match causes {
        [one] if one["kind"] == kind && one["as_good"].is_null() => Some(one),
        _ => None,
    }
}

fn near(x: &Value, y: f64, relative: f64) -> bool {
    x.as_f64().is_some_and(|x| (x / y - 1.0).abs() <= relative)
}

/// No cause at all, but a difference or not.
fn none(causes: &[Value], _: &str, _: &str) -> bool {
    causes.is_empty()
}

#[test]
fn nothing_is_named_where_only_rounding_differs() {
    named("same", |case, _| {
        Planted::new(Dump::Logits(case.clone()), Dump::LogProbs(case.log_probs()), none)
    });
    named("naive", |case, _| {
        // x[target] − ln Σ e^x, all of it in f32.
        let naive = |(row, &token): (&Vec<f64>, &i64)| {
            let mass: f32 = row.iter().map(|&x| (x as f32).exp()).sum();
            f64::from(row[token as usize] as f32 - mass.ln()).min(0.0)
        };
        let naive = case.logits.iter().zip(&case.tokens).map(naive).collect();
        Planted::new(Dump::Logits(case.clone()), Dump::LogProbs(naive), none)
    });
}

/// Noise of every size, in logits or in log-probs, is not taken for a cause.
#[test]
fn nothing_is_named_where_noise_differs() {
    for size in [3e-6, 1e-5, 1e-3, 0.03, 0.3] {
        named(&format!("noise-{size}"), move |case, random| {
            let noisy = case.noisy(size, random);
            Planted::new(Dump::Logits(case.clone()), Dump::LogProbs(noisy.log_probs()), none)
        });
        named(&format!("noise-both-{size}"), move |case, random| {
            let noisy = case.noisy(size, random);
            Planted::new(Dump::Logits(case.clone()), Dump::Logits(noisy), none)
        });
        named(&format!("noise-log-probs-{size}"), move |case, random| {
            let noisy = case.noisy(size, random).log_probs();
            Planted::new(Dump::LogProbs(case.log_probs()), Dump::LogProbs(noisy), none)
        });
    }
}

#[test]
fn temperatures() {
    let planted = |both: bool, noise: f64, relative: f64| {
        move |case: &Case, random: &mut Random| {
            let value = random.between(-0.7, 0.7).exp();
            let value = if (value - 1.0).abs() < 0.05 { 1.1 } else { value };
            let other = case.noisy(noise, random).map(|x| x / value);
            let other = if both { Dump::Logits(other) } else { Dump::LogProbs(other.log_probs()) };
            Planted::new(Dump::Logits(case.clone()), other, move |causes, of_x, of_y| {
                alone(causes, "temperature").is_some_and(|one| {
                    // Either side's logits at one temperature are the other's at its inverse.
                    let value = if one["side"] == of_y { value } else { value.recip() };
                    (one["side"] == of_y || both && one["side"] == of_x)
                        && one["rounded"].is_null()
                        && near(&one["value"], value, relative)
                })
            })
        }
    };
    named("temperature", planted(false, 0.0, 1e-5));
    named("temperature-both", planted(true, 0.0, 1e-5));
    named("temperature-noisy", planted(false, 1e-3, 1e-2));
    named("temperature-small", |case, _| {
        let other = case.map(|x| x / 1.002).log_probs();
        Planted::new(Dump::Logits(case.clone()), Dump::LogProbs(other), |causes, _, _| {
            alone(causes, "temperature").is_some_and(|one| near(&one["value"], 1.002, 1e-5))
        })
    });
}

#[test]
fn softcaps() {
    let capped = |cap: f64| move |x: f64| cap * (x / cap).tanh();
    named("softcap", move |case, random| {
        let cap = random.between(5.0, 60.0);
        let other = case.map(capped(cap)).log_probs();
        Planted::new(Dump::Logits(case.clone()), Dump::LogProbs(other), move |causes, _, of_y| {
            alone(causes, "softcap")
                .is_some_and(|one| one["side"] == of_y && near(&one["value"], cap, 1e-2))
        })
    });
    // The side with logits is the one that caps them.
    named("uncapped", move |case, random| {
        let cap = random.between(12.0, 60.0);
        let mine = case.map(capped(cap));
        // The cap cannot be taken off where f32 holds it as the cap itself.
        let other = case.log_probs();
        Planted::new(Dump::Logits(mine), Dump::LogProbs(other), move |causes, of_x, _| {
            alone(causes, "softcap")
                .is_some_and(|one| one["side"] == of_x && near(&one["value"], cap, 1e-2))
        })
    });
    // What one side states, the other lacks.
    for (part, option, f) in [
        ("softcap", "--x-softcap", (|x| 20.0 * (x / 20.0).tanh()) as fn(f64) -> f64),
        ("scale", "--x-scale", |x| 0.4 * x),
        ("temperature", "--x-temperature", |x| x / 1.7),
    ] {
        let value = match part {
            "softcap" => "20",
            "scale" => "0.4",
            _ => "1.7",
        };
        named(&format!("lacks-{part}"), move |case, _| {
            let mut planted = Planted::new(
                Dump::Logits(case.clone()),
                Dump::LogProbs(case.log_probs()),
                move |causes, _, of_y| {
                    alone(causes, "missing_transform")
                        .is_some_and(|one| one["side"] == of_y && one["part"] == part)
                },
            );
            planted.options_x = vec![option.to_owned(), value.to_owned()];
            planted
        });
        named(&format!("states-{part}"), move |case, _| {
            let other = case.map(f).log_probs();
            let mut planted = Planted::new(Dump::Logits(case.clone()), Dump::LogProbs(other), none);
            planted.options_x = vec![option.to_owned(), value.to_owned()];
            planted
        });
    }
}

#[test]
fn logits_in_16_bits() {
    for (name, round) in [("bf16", bf16 as fn(f64) -> f64), ("f16", f16)] {
        let right = move |causes: &[Value], _: &str, of_y: &str| {
            alone(causes, "rounded_logits")
                .is_some_and(|one| one["side"] == of_y && one["type"] == name)
        };
        named(&format!("{name}-logits"), move |case, _| {
            let other = Dump::LogProbs(case.map(round).log_probs());
            Planted::new(Dump::Logits(case.clone()), other, right)
        });
        named(&format!("{name}-logits-both"), move |case, _| {
            let other = Dump::Logits(case.map(round));
            Planted::new(Dump::Logits(case.clone()), other, right)
        });
        named(&format!("{name}-then-temperature"), move |case, random| {
            let value = random.between(1.2, 1.9);
            let other = Dump::LogProbs(case.map(round).map(|x| x / value).log_probs());
            Planted::new(Dump::Logits(case.clone()), other, move |causes, _, of_y| {
                alone(causes, "temperature").is_some_and(|one| {
                    one["side"] == of_y
                        && one["rounded"] == name
                        && near(&one["value"], value, 1e-4)
                })
            })
        });
        named(&format!("{name}-log-probs"), move |case, _| {
            let other = case.log_probs().into_iter().map(round).collect();
            let right = move |causes: &[Value], _: &str, of_y: &str| {
                alone(causes, "rounded_log_probs")
                    .is_some_and(|one| one["side"] == of_y && one["type"] == name)
            };
            Planted::new(Dump::LogProbs(case.log_probs()), Dump::LogProbs(other), right)
        });
    }
    // What rounding took is lost: the size of the differences is all that there is.
    named("bf16-lost", |case, _| {
        let rounded = Dump::Bf16Logits(case.map(bf16));
        // Which takes 48 tokens that are not confident.
        let is_told = case.log_probs().iter().filter(|&&x| x < -0.1).count() >= 50;
        Planted::new(rounded, Dump::LogProbs(case.log_probs()), move |causes, of_x, _| {
            let one = alone(causes, "size_of_rounding")
                .is_some_and(|one| one["side"] == of_x && one["type"] == "bf16");
            one || (!is_told && causes.is_empty())
        })
    });
    // The digits are there, and rounding them explains no token: what differs came before.
    named("bf16-hidden", |case, random| {
        let rounded = Dump::Bf16Logits(case.noisy(0.02, random).map(bf16));
        Planted::new(rounded, Dump::Logits(case.clone()), none)
    });
    // More than twice or less than half of what bf16 makes is no rounding of logits.
    for (name, part) in [("bf16-too-far", 3.0), ("bf16-too-near", 1.0 / 3.0)] {
        named(name, move |case, _| {
            let rounded = case.map(bf16);
            let (exact, moved) = (case.log_probs(), rounded.log_probs());
            let other = exact.iter().zip(&moved).map(|(x, y)| single(y + part * (x - y))).collect();
            Planted::new(Dump::Bf16Logits(rounded), Dump::LogProbs(other), none)
        });
    }
}

#[test]
fn shifts() {
    for by in [1, -1] {
        named(&format!("rows-{by}"), move |case, _| {
            let other = Dump::LogProbs(case.shifted(by));
            Planted::new(Dump::Logits(case.clone()), other, move |causes, _, of_y| {
                alone(causes, "shifted_rows")
                    .is_some_and(|one| one["side"] == of_y && one["by"] == by)
            })
        });
        let moved = move |x: &[f64]| {
            let at = |t: usize| t.checked_add_signed(-by).and_then(|t| x.get(t)).copied();
            (0..x.len()).map(|t| at(t).unwrap_or(-2.5)).collect::<Vec<f64>>()
        };
        let right = move |causes: &[Value], _: &str, of_y: &str| {
            let by = if of_y == "B" { by } else { -by };
            alone(causes, "shifted_log_probs").is_some_and(|one| one["by"] == by)
        };
        named(&format!("log-probs-{by}"), move |case, _| {
            let (own, other) = (case.log_probs(), moved(&case.log_probs()));
            Planted::new(Dump::LogProbs(own), Dump::LogProbs(other), right)
        });
        named(&format!("log-probs-noisy-{by}"), move |case, random| {
            let other = moved(&case.noisy(1e-2, random).log_probs());
            Planted::new(Dump::LogProbs(case.log_probs()), Dump::LogProbs(other), right)
        });
    }
}

#[test]
fn other_numbers_than_natural_log_probs() {
    let planted = |kind: &'static str, base: u8, f: fn(f64) -> f64, noise: f64| {
        move |case: &Case, random: &mut Random| {
            let other = case.noisy(noise, random).log_probs();
            let other = other.into_iter().map(|x| single(f(x))).collect();
            let own = Dump::LogProbs(case.log_probs());
            Planted::new(own, Dump::LogProbs(other), move |causes, _, of_y| {
                alone(causes, kind)
                    .is_some_and(|one| one["side"] == of_y && (base == 0 || one["base"] == base))
            })
        }
    };
    named("base-2", planted("log_base", 2, |x| x / std::f64::consts::LN_2, 0.0));
    named("base-10", planted("log_base", 10, |x| x / std::f64::consts::LN_10, 0.0));
    named("base-2-noisy", planted("log_base", 2, |x| x / std::f64::consts::LN_2, 1e-3));
    named("sign", planted("sign", 0, |x| -x, 0.0));
    named("probabilities", planted("probabilities", 0, f64::exp, 0.0));
}

/// Log-probs of 0 are confident tokens that f32 or bf16 rounds, or masks.
#[test]
fn log_probs_of_0() {
    // As x − ln Σ e^x leaves them.
    let naive = |case: &Case, round: fn(f64) -> f64| -> Vec<f64> {
        let rows = case.logits.iter().zip(&case.tokens);
        rows.map(|(row, &token)| {
            let x = row[token as usize];
            round(round(x) - round(x - log_prob(row, token as usize))).min(0.0)
        })
        .collect()
    };
    named("zeros-cold", move |case, _| {
        let other = naive(&case.map(|x| 2.0 * x), single);
        Planted::new(Dump::Logits(case.clone()), Dump::LogProbs(other), |causes, _, of_y| {
            alone(causes, "temperature")
                .is_some_and(|one| one["side"] == of_y && near(&one["value"], 0.5, 1e-3))
        })
    });
    for (name, factor, round) in
        [("zeros-cold-untold", 2.0, single as fn(f64) -> f64), ("zeros-bf16", 1.0, bf16)]
    {
        named(name, move |case, _| {
            let other = naive(&case.map(|x| factor * x), round);
            Planted::new(Dump::LogProbs(case.log_probs()), Dump::LogProbs(other), |causes, _, _| {
                !causes.iter().any(|one| one["kind"] == "masked_tokens")
            })
        });
    }
    named("zeros-shifted", move |case, _| {
        let mut other = case.clone();
        other.logits.rotate_left(1);
        let other = naive(&other, single);
        Planted::new(Dump::LogProbs(case.log_probs()), Dump::LogProbs(other), |causes, _, _| {
            causes.is_empty()
        })
    });
    named("zeros-masked", |case, random| {
        let noisy = case.noisy(1e-3, random).log_probs().into_iter();
        let mut count = 0;
        let other = noisy.map(|x| {
            let masked = x < -0.5 && random.uniform() < 0.2;
            count += usize::from(masked);
            if masked { 0.0 } else { x }
        });
        let (other, own) = (other.collect(), case.log_probs());
        Planted::new(
            Dump::LogProbs(own),
            Dump::LogProbs(other),
            move |causes, _, of_y| match causes {
                [] => count == 0,
                [one] => {
                    one["kind"] == "masked_tokens" && one["side"] == of_y && one["tokens"] == count
                }
                _ => false,
            },
        )
    });
    named("zeros-alone", |case, _| {
        let other = vec![0.0; case.tokens.len()];
        Planted::new(Dump::Logits(case.clone()), Dump::LogProbs(other), |causes, _, of_y| {
            causes.iter().all(|one| one["kind"] == "masked_tokens" && one["side"] == of_y)
        })
    });
}

/// An engine that knows nothing is no temperature and no cap; one that is sure beside it holds no
/// probabilities.
#[test]
fn an_untrained_side_is_no_cause() {
    let flat = |case: &Case, random: &mut Random| case.map(|_| 0.0).noisy(0.02, random);
    named("untrained", move |case, random| {
        let other = Dump::LogProbs(flat(case, random).log_probs());
        Planted::new(Dump::Logits(case.clone()), other, none)
    });
    named("untrained-both", move |case, random| {
        Planted::new(Dump::Logits(case.clone()), Dump::Logits(flat(case, random)), none)
    });
    named("untrained-log-probs", move |case, random| {
        let other = Dump::LogProbs(flat(case, random).log_probs());
        Planted::new(Dump::LogProbs(case.log_probs()), other, none)
    });
    named("constant", |case, _| {
        let other = Dump::LogProbs(case.map(|_| 1.0).log_probs());
        Planted::new(Dump::Logits(case.clone()), other, none)
    });
    // Far off, by which a log-prob is infinite under no cause.
    named("raised", |case, _| {
        let other = case.log_probs().into_iter().map(|x| single(x + 1000.0)).collect();
        Planted::new(Dump::LogProbs(case.log_probs()), Dump::LogProbs(other), none)
    });
    // Two causes: the larger may be told, and nothing else.
    named("row-and-temperature", |case, _| {
        let other = Dump::LogProbs(case.map(|x| x / 0.7).shifted(-1));
        Planted::new(Dump::Logits(case.clone()), other, |causes, _, of_y| {
            causes.iter().all(|one| one["kind"] == "shifted_rows" && one["side"] == of_y)
        })
    });
}

/// A temperature cannot be told from log-probs: nothing else may be named for it.
#[test]
fn nothing_is_named_that_cannot_be_told() {
    named("temperature-untold", |case, random| {
        let value = random.between(-0.7, 0.7).exp();
        let other = case.map(|x| x / value).log_probs();
        Planted::new(Dump::LogProbs(case.log_probs()), Dump::LogProbs(other), none)
    });
    // 1 / ln 2, under which confident tokens look as if to base 2.
    named("temperature-like-base-2", |case, _| {
        let other = case.map(|x| x / std::f64::consts::LN_2).log_probs();
        Planted::new(Dump::LogProbs(case.log_probs()), Dump::LogProbs(other), none)
    });
    named("rows-untold", |case, _| {
        let other = Dump::LogProbs(case.shifted(1));
        Planted::new(Dump::LogProbs(case.log_probs()), other, none)
    });
    named("unrelated", |case, random| {
        let mut other = Case::new(random);
        other.logits.truncate(case.logits.len());
        let tokens: Vec<f64> =
            (0..case.tokens.len()).map(|_| single(-random.between(0.0, 9.0))).collect();
        Planted::new(Dump::Logits(case.clone()), Dump::LogProbs(tokens), none)
    });
}

#[test]
fn masks_of_the_vocabulary() {
    named("masked-columns", |case, random| {
        let mut other = case.clone();
        for (row, &token) in other.logits.iter_mut().zip(&case.tokens) {
            for (column, x) in row.iter_mut().enumerate() {
                if column != token as usize && random.uniform() < 0.3 {
                    *x = f64::NEG_INFINITY;
                }
            }
        }
        Planted::new(Dump::Logits(case.clone()), Dump::Logits(other), |causes, _, of_y| {
            alone(causes, "masked_vocabulary").is_some_and(|one| one["side"] == of_y)
        })
    });
    // Columns behind the vocabulary, as a padded head has them.
    named("padded-columns", |case, _| {
        let mut padded = case.clone();
        padded.vocab += 9;
        padded.logits.iter_mut().for_each(|row| row.resize(padded.vocab, 4.0));
        Planted::new(Dump::Logits(padded), Dump::Logits(case.clone()), |causes, _, of_y| {
            alone(causes, "masked_vocabulary").is_some_and(|one| one["side"] == of_y)
        })
    });
}
