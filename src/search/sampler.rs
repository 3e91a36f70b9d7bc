//! Which values a trial tries.
//!
//! Random, or tree-structured Parzen estimators (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"):
//! of some places drawn near those of the best trials, the one where the best are densest beside the others.
//! Every key is on its own.

use std::f64::consts::PI;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::space::{Values, place_of, value_at};
use crate::config::search::{KeyRange, Sampler, SearchConfig};
use crate::model::noise::{fnv1a, splitmix64};

/// Share of trials that count as the best.
const BEST_SHARE: f64 = 0.25;
/// Places of which the most promising is taken.
const CANDIDATES: usize = 24;
/// Kernels are at least this wide, so that no place is ruled out.
const NARROWEST: f64 = 0.01;

/// The values of trial `number`, from what the `known` trials came to (by number, so that their order is no accident). A
/// trial without a score failed.
pub(super) fn suggest(
    config: &SearchConfig,
    number: usize,
    known: &[(&Values, Option<f64>)],
) -> Values {
    let random = config.search.sampler == Sampler::Random
        || number < config.search.random_trials
        || known.is_empty();
    let value = |key: &KeyRange| {
        // A stream for each key: another key changes nothing for this one.
        let seed = splitmix64(config.search.seed, number as u64) ^ fnv1a(key.name.as_bytes());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let place = if random { rng.random() } else { promising(key, known, &mut rng) };
        (key.name.clone(), value_at(key, place))
    };
    config.key.iter().map(value).collect()
}

fn promising(key: &KeyRange, known: &[(&Values, Option<f64>)], rng: &mut ChaCha8Rng) -> f64 {
    let mut places: Vec<(f64, f64)> = known
        .iter()
        .filter_map(|(values, score)| {
            Some((place_of(key, values.get(&key.name)?)?, score.unwrap_or(f64::NEG_INFINITY)))
        })
        .collect();
    places.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = (places.len() as f64 * BEST_SHARE).ceil() as usize;
    let density = |places: &[(f64, f64)]| {
        Density::of(places.iter().map(|place| place.0).collect(), key.choices.len())
    };
    let (good, bad) = (density(&places[..best]), density(&places[best..]));
    let candidates = (0..CANDIDATES).map(|_| good.draw(rng));
    let gain = |place: f64| good.at(place).ln() - bad.at(place).ln();
    candidates.max_by(|&a, &b| gain(a).total_cmp(&gain(b))).unwrap_or(0.5)
}

/// How dense places lie between 0 and 1, with an even density as one more of them.
enum Density {
    /// A normal distribution around each place; what lies beyond an end is folded back.
    Places { centres: Vec<f64>, widths: Vec<f64> },
    /// One weight a choice.
    Choices(Vec<f64>),
}

impl Density {
    fn of(mut places: Vec<f64>, choices: usize) -> Self {
        if choices > 0 {
            let all = (places.len() + 1) as f64;
            let mut weights = vec![1.0 / (choices as f64 * all); choices];
            for place in places {
                weights[choice_at(place, choices)] += 1.0 / all;
            }
            return Self::Choices(weights);
        }
        places.sort_by(f64::total_cmp);
        let narrowest = NARROWEST.max(1.0 / (places.len() + 1) as f64);
        let widths = (0..places.len()).map(|i| {
            let before = if i == 0 { 0.0 } else { places[i - 1] };
            let after = places.get(i + 1).copied().unwrap_or(1.0);
            (places[i] - before).max(after - places[i]).clamp(narrowest, 1.0)
        });
        Self::Places { widths: widths.collect(), centres: places }
    }

    fn at(&self, place: f64) -> f64 {
        match self {
            Self::Choices(weights) => weights[choice_at(place, weights.len())],
            Self::Places { centres, widths } => {
                let kernels = centres.iter().zip(widths);
                let sum: f64 = kernels.map(|(&centre, &width)| folded(place, centre, width)).sum();
                (1.0 + sum) / (centres.len() + 1) as f64
            }
        }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Choices(weights) => {
                let mut left = rng.random::<f64>();
                let drawn = weights.iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                let last = weights.len() - 1;
                (drawn.unwrap_or(last) as f64 + 0.5) / weights.len() as f64
            }
            Self::Places { centres, widths } => {
                let kernel = rng.random_range(0..=centres.len());
                let (even, angle) = (rng.random::<f64>(), rng.random::<f64>());
                let Some(centre) = centres.get(kernel) else { return even };
                // Box and Muller.
                let normal = (-2.0 * (1.0 - even).ln()).sqrt() * (2.0 * PI * angle).cos();
                let place = (centre + normal * widths[kernel]).rem_euclid(2.0);
                if place > 1.0 { 2.0 - place } else { place }
            }
        }
    }
}

fn choice_at(place: f64, choices: usize) -> usize {
    ((place * choices as f64) as usize).min(choices - 1)
}

/// A normal distribution with mirrors at 0 and 1: the sum over the centre's images. Those further off than these weigh
/// less than 1e-5, as no kernel is wider than 1.
fn folded(place: f64, centre: f64, width: f64) -> f64 {
    let normal =
        |distance: f64| (-0.5 * (distance / width).powi(2)).exp() / (width * (2.0 * PI).sqrt());
    [-4.0, -2.0, 0.0, 2.0, 4.0]
        .into_iter()
        .map(|shift| normal(place - shift - centre) + normal(place - shift + centre))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::space::number;
    use toml::Value;

    fn config(sampler: Sampler) -> SearchConfig {
        let mut config = SearchConfig::default();
        config.search.sampler = sampler;
        let optimizer = ["adamw", "sgd"].map(|name| Value::String(name.into())).to_vec();
        config.key.push(KeyRange {
            name: "optimizer.name".into(),
            choices: optimizer,
            ..KeyRange::default()
        });
        config
    }

    /// Best at a rate of 1e-3 and weight decay of 1e-8 with "sgd".
    fn score(values: &Values) -> f64 {
        let off = |key: &str, best: f64| (number(&values[key]).unwrap() / best).log10();
        let wrong = values["optimizer.name"].as_str() != Some("sgd");
        -off("optimizer.learning_rate", 1e-3).powi(2)
            - 0.1 * off("optimizer.weight_decay", 1e-8).powi(2)
            - f64::from(u8::from(wrong))
    }

    fn search(config: &SearchConfig, trials: usize) -> Vec<(Values, Option<f64>)> {
        let mut known: Vec<(Values, Option<f64>)> = Vec::new();
        for number in 0..trials {
            let seen: Vec<_> = known.iter().map(|(values, score)| (values, *score)).collect();
            let values = suggest(config, number, &seen);
            let score = score(&values);
            known.push((values, Some(score)));
        }
        known
    }

    #[test]
    fn random_values_depend_on_seed_and_number_only() {
        let config = config(Sampler::Random);
        let after = search(&config, 4);
        for (number, (values, _)) in after.iter().enumerate() {
            assert_eq!(suggest(&config, number, &[]), *values);
        }
        let mut fewer = config.clone();
        fewer.key.remove(0);
        let decay = "optimizer.weight_decay";
        assert_eq!(suggest(&fewer, 3, &[])[decay], after[3].0[decay]);
        let mut other = config;
        other.search.seed = 1;
        assert_ne!(suggest(&other, 3, &[]), after[3].0);
    }

    #[test]
    fn tpe_finds_the_better_half_where_random_values_do_not() {
        let mean_of_last = |sampler| {
            let mut sum = 0.0;
            for seed in 0..10 {
                let mut config = config(sampler);
                config.search.seed = seed;
                let trials = search(&config, 40);
                sum += trials[20..].iter().map(|trial| trial.1.unwrap()).sum::<f64>() / 20.0;
            }
            sum / 10.0
        };
        let (random, tpe) = (mean_of_last(Sampler::Random), mean_of_last(Sampler::Tpe));
        assert!(tpe > 0.4 * random, "random {random}, TPE {tpe}");
    }

    #[test]
    fn failed_trials_are_the_worst_ones() {
        let config = config(Sampler::Tpe);
        let mut known = search(&config, 30);
        // Whatever has a rate above 1e-3 fails.
        let key = "optimizer.learning_rate";
        for (values, score) in &mut known {
            if number(&values[key]).unwrap() > 1e-3 {
                *score = None;
            }
        }
        let seen: Vec<_> = known.iter().map(|(values, score)| (values, *score)).collect();
        let below = (30..130)
            .filter(|&trial| number(&suggest(&config, trial, &seen)[key]).unwrap() <= 1e-3);
        assert!(below.count() > 75);
    }

    #[test]
    fn densities_sum_to_one_and_drawing_follows_them() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for density in [
            Density::of(vec![0.02, 0.3, 0.31, 0.9], 0),
            Density::of(Vec::new(), 0),
            Density::of(vec![0.5], 0),
        ] {
            let cells = 200;
            let middle = |cell: usize| (cell as f64 + 0.5) / cells as f64;
            let sum: f64 = (0..cells).map(|cell| density.at(middle(cell)) / cells as f64).sum();
            assert!((sum - 1.0).abs() < 1e-3, "{sum}");
            let below = |limit: f64| -> f64 {
                (0..cells).filter(|&c| middle(c) < limit).map(|c| density.at(middle(c))).sum()
            };
            let drawn = (0..4000).filter(|_| density.draw(&mut rng) < 0.25).count();
            let expected = below(0.25) / cells as f64;
            assert!((drawn as f64 / 4000.0 - expected).abs() < 0.03, "{drawn} {expected}");
        }
        let choices = Density::of(vec![0.25, 0.25, 0.75], 2);
        assert!((choices.at(0.1) - 0.625).abs() < 1e-12 && (choices.at(0.9) - 0.375).abs() < 1e-12);
        let first = (0..4000).filter(|_| choices.draw(&mut rng) < 0.5).count();
        assert!((first as f64 / 4000.0 - 0.625).abs() < 0.03);
    }
}
