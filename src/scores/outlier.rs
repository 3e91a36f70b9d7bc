//! The outlier rule: among several maps of scores, one that says little over a block is left out where it keeps the others down.
//!
//! From the third place of the Open Cities AI Challenge, where the unit was a tile.

/// A map that never gets above this sees no building, and is right to stay flat.
const SEES_SOMETHING: f32 = 0.5;

/// Where the mean gets this high, the maps agree on something.
const AGREED: f32 = 0.9;

/// The map to leave out of a block: that of the lowest standard deviation, if its maximum lies above 0.5 while that of the mean of
/// all maps lies below 0.9. Maps without a value in the block (NaN everywhere) are not looked at; of fewer than two none is left out.
pub fn outlier(maps: &[Vec<f32>], mean: &[f32]) -> Option<usize> {
    let deviations = maps.iter().enumerate();
    let deviations = deviations.filter_map(|(index, map)| Some((index, deviation(map)?)));
    let deviations: Vec<(usize, f64)> = deviations.collect();
    if deviations.len() < 2 {
        return None;
    }
    let (flattest, _) = deviations.into_iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    (largest(&maps[flattest]) > SEES_SOMETHING && largest(mean) < AGREED).then_some(flattest)
}

/// Population standard deviation of what is not NaN.
fn deviation(values: &[f32]) -> Option<f64> {
    let known = || values.iter().filter(|value| !value.is_nan()).map(|value| f64::from(*value));
    let count = known().count();
    if count == 0 {
        return None;
    }
    let mean = known().sum::<f64>() / count as f64;
    Some((known().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64).sqrt())
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(f32::NEG_INFINITY, |largest, value| largest.max(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURE: [f32; 4] = [0.02, 0.98, 0.01, 0.97];
    const FLAT: [f32; 4] = [0.4, 0.6, 0.4, 0.5];

    fn means(maps: &[Vec<f32>]) -> Vec<f32> {
        let mean = |i: usize| {
            let known = maps.iter().map(|map| map[i]).filter(|value| !value.is_nan());
            known.clone().sum::<f32>() / known.count() as f32
        };
        (0..4).map(mean).collect()
    }

    fn found(maps: &[[f32; 4]]) -> Option<usize> {
        let maps: Vec<Vec<f32>> = maps.iter().map(|map| map.to_vec()).collect();
        outlier(&maps, &means(&maps))
    }

    #[test]
    fn the_flattest_map_is_left_out_where_it_keeps_the_mean_down() {
        assert_eq!(found(&[SURE, SURE, FLAT]), Some(2));
        assert_eq!(found(&[FLAT, SURE]), Some(0));
    }

    #[test]
    fn a_flat_map_that_sees_nothing_stays() {
        assert_eq!(found(&[SURE, SURE, [0.1, 0.5, 0.1, 0.2]]), None);
    }

    #[test]
    fn where_the_mean_is_sure_all_stay() {
        assert_eq!(found(&[SURE, SURE, [0.6, 0.8, 0.6, 0.8]]), None);
    }

    #[test]
    fn maps_without_a_value_are_not_looked_at() {
        let nothing = [f32::NAN; 4];
        assert_eq!(found(&[nothing, SURE, FLAT]), Some(2));
        assert_eq!(found(&[nothing, FLAT]), None);
        let partly = [f32::NAN, 0.6, 0.55, f32::NAN];
        assert_eq!(found(&[SURE, partly, FLAT]), Some(1));
    }
}
