use std::f64::consts::{FRAC_PI_4, TAU};

use geo::{Area, MultiPolygon, Validation, unary_union};
use proptest::prelude::*;

use super::super::simplify::simplify;
use super::*;

mod plans;

use plans::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn plans_with_right_angles_get_them_back(
        kind in 0..5usize, size in 0.8..3f64, angle in 0.0..TAU, jitter in jitter(12),
    ) {
        let truth = mesh(&[plan(kind, size)]);
        let simple = disturbed(&truth, angle, &jitter, 0.25);
        let regular = run(&simple);
        check(&regular.mesh)?;
        prop_assert_eq!(regular.status[0], Status::Regular);
        let found = &polygons(&regular.mesh)[0];
        prop_assert!(worst_corner(found) < 1e-9, "{}", worst_corner(found).to_degrees());
        prop_assert_eq!(regular.mesh.buildings[0].len(), truth.buildings[0].len());
        let exact = disturbed(&truth, angle, &[(0.0, 0.0)], 0.0);
        let (before, after) = (&polygons(&simple)[0], &polygons(&exact)[0]);
        prop_assert!(iou(found, after) > 0.9 && iou(found, before) > 0.87);
    }

    #[test]
    fn turned_outlines_become_turned_regular_outlines(
        kind in 0..5usize, angle in 0.0..TAU, jitter in jitter(12),
    ) {
        let simple = disturbed(&mesh(&[plan(kind, 1.0)]), 0.0, &jitter, 0.2);
        let turned = disturbed(&simple, angle, &[(0.0, 0.0)], 0.0);
        let expected = disturbed(&run(&simple).mesh, angle, &[(0.0, 0.0)], 0.0);
        let (found, expected) = (&polygons(&run(&turned).mesh)[0], &polygons(&expected)[0]);
        prop_assert!(iou(found, expected) > 0.9999, "{}", iou(found, expected));
    }

    #[test]
    fn a_regular_outline_stays_as_it_is(
        kind in 0..5usize, angle in 0.0..TAU, jitter in jitter(12),
    ) {
        let simple = disturbed(&mesh(&[plan(kind, 1.0)]), angle, &jitter, 0.25);
        let once = run(&simple).mesh;
        let again = made(&once, &simple, &Regularize::default()).mesh;
        prop_assert_eq!(&again.buildings, &once.buildings);
        for (p, q) in once.points.iter().zip(&again.points) {
            prop_assert!((p[0] - q[0]).hypot(p[1] - q[1]) < 1e-6);
        }
    }

    #[test]
    fn houses_wall_to_wall_stay_wall_to_wall(
        houses in prop::collection::vec((4.0..9f64, 0..3usize, 4..7usize), 2..8),
        angle in 0.0..TAU, jitter in jitter(40),
    ) {
        // Fronts and backs agree, or are too far apart to be aligned.
        let steps = |(width, front, depth): &(f64, usize, usize)| (*width, 2.0 * *front as f64, 2.0 * *depth as f64);
        let truth = row(&houses.iter().map(steps).collect::<Vec<_>>());
        let simple = disturbed(&truth, angle, &jitter, 0.2);
        let regular = run(&simple);
        check(&regular.mesh)?;
        prop_assert!(regular.status.iter().all(|status| *status == Status::Regular));
        let found = polygons(&regular.mesh);
        for house in &found {
            prop_assert!(worst_corner(house) < 1e-9, "{}", worst_corner(house).to_degrees());
        }
        let union = unary_union(&found);
        prop_assert_eq!((union.0.len(), union.0[0].interiors().len()), (1, 0));
        let sum: f64 = found.iter().map(Area::unsigned_area).sum();
        prop_assert!((union.unsigned_area() - sum).abs() < 1e-4);
    }

    #[test]
    fn a_block_of_houses_has_no_gaps_and_one_grid(
        widths in prop::collection::vec(4.0..9f64, 2..5), depths in prop::collection::vec(5.0..9f64, 2..4),
        angle in 0.0..TAU, jitter in jitter(30),
    ) {
        let mut houses = Vec::new();
        let (mut x, mut y) = (0.0, 0.0);
        for depth in &depths {
            for width in &widths {
                let [left, right, top, bottom] = [x, x + width, y, y + depth];
                houses.push(vec![vec![[left, top], [left, bottom], [right, bottom], [right, top]]]);
                x = right;
            }
            (x, y) = (0.0, y + depth);
        }
        let regular = run(&disturbed(&mesh(&houses), angle, &jitter, 0.2));
        check(&regular.mesh)?;
        let found = polygons(&regular.mesh);
        let union = unary_union(&found);
        prop_assert_eq!((union.0.len(), union.0[0].interiors().len()), (1, 0));
        prop_assert_eq!(union.0[0].exterior().0.len(), 2 * (widths.len() + depths.len()) + 1);
        for house in &found {
            prop_assert!(worst_corner(house) < 1e-9, "{}", worst_corner(house).to_degrees());
        }
    }

    #[test]
    fn whatever_comes_in_what_goes_out_is_valid_and_near_it(
        houses in prop::collection::vec((1.0..6f64, 0.0..3f64, 3.5..9f64), 1..7),
        angle in 0.0..TAU, noise in 0.0..0.49f64, jitter in jitter(40),
        tolerance_m in 0.0..3f64, min_iou in 0.0..1f64,
    ) {
        let simple = disturbed(&row(&houses), angle, &jitter, noise);
        // Jitter may have made buildings overlap that were close.
        if check(&simple).is_err() {
            return Ok(());
        }
        let options = Regularize { tolerance_m, min_iou, ..Regularize::default() };
        let regular = made(&simple, &simple, &options);
        check(&regular.mesh)?;
        let (before, after) = (polygons(&simple), polygons(&regular.mesh));
        for (i, (a, b)) in before.iter().zip(&after).enumerate() {
            prop_assert!(iou(a, b) >= min_iou - 1e-9);
            if regular.status[i] == Status::Simplified {
                prop_assert_eq!(a, b);
            }
        }
    }

    #[test]
    fn rough_outlines_stay_valid_and_near_and_no_rougher_than_without(
        w in 5.0..25f64, h in 5.0..25f64, wave in 2.0..9f64, height in 0.0..1.2f64,
        angle in 0.0..TAU, jitter in jitter(50), rough_scale in 1.0..5f64, min_iou in 0.5..1f64,
    ) {
        let traced = disturbed(&waving(w.round(), h.round(), 0.5, wave, height), angle, &jitter, 0.12);
        if check(&traced).is_err() {
            return Ok(());
        }
        let options = Regularize { rough_scale, min_iou, circles: false, ..Regularize::default() };
        let plain = regular_of(&traced, &Regularize { rough_scale: 1.0, ..options });
        let rough = regular_of(&traced, &options);
        check(&rough.mesh)?;
        // Only what is regular takes the place of the drawing with the tolerance asked for.
        if rough.mesh != plain.mesh {
            prop_assert_eq!(&rough.status, &[Status::Regular]);
            prop_assert!(iou(&polygons(&rough.mesh)[0], &polygons(&traced)[0]) >= min_iou - 1e-9);
        }
    }

    #[test]
    fn outlines_without_any_direction_stay_valid(
        radii in prop::collection::vec(0.5..12f64, 3..24), angle in 0.0..TAU, hole in any::<bool>(),
        tolerance_m in 0.0..4f64, min_iou in 0.0..1f64,
    ) {
        let star = |share: f64| -> Vec<Point> {
            let corners = radii.iter().enumerate().map(|(i, radius)| {
                let (sine, cosine) = (angle - TAU * i as f64 / radii.len() as f64).sin_cos();
                [share * radius * cosine, share * radius * sine]
            });
            corners.collect()
        };
        let inner = || star(0.5).into_iter().rev().collect();
        let rings = if hole { vec![star(1.0), inner()] } else { vec![star(1.0)] };
        let simple = mesh(&[rings]);
        let options = Regularize { tolerance_m, min_iou, ..Regularize::default() };
        check(&made(&simple, &simple, &options).mesh)?;
    }

    #[test]
    fn round_roofs_become_circles_of_their_area(
        radius in 2.0..30f64, corners in 12..60usize, jitter in jitter(60),
    ) {
        let at = |i: usize| {
            let (sine, cosine) = (-TAU * i as f64 / corners as f64).sin_cos();
            let radius = radius + 0.1 * jitter[i].0;
            [radius * cosine, radius * sine]
        };
        let traced = mesh(&[vec![(0..corners).map(at).collect()]]);
        let simple = mesh(&[vec![(0..corners).step_by(corners / 6).map(at).collect()]]);
        let regular = made(&simple, &traced, &Regularize::default());
        prop_assert_eq!(regular.status[0], Status::Circle);
        let (found, traced) = (&polygons(&regular.mesh)[0], &polygons(&traced)[0]);
        prop_assert!((found.unsigned_area() / traced.unsigned_area() - 1.0).abs() < 1e-9);
        prop_assert!(found.is_valid() && iou(found, traced) > 0.92);
    }
}

#[test]
fn squares_and_hexagons_are_no_circles_and_circles_can_be_off() {
    let square = mesh(&[rectangle(6.0, 6.0)]);
    assert_eq!(run(&square).status, [Status::Regular]);
    // Six walls of ten points each, as they are traced.
    let corner = |i: usize| -> Point { (TAU * i as f64 / 6.0).sin_cos().into() };
    let along = |i: usize| {
        let (a, b, t) = (corner(i / 10), corner(i / 10 + 1), (i % 10) as f64 / 10.0);
        [0, 1].map(|axis| 5.0 * (a[axis] + t * (b[axis] - a[axis])))
    };
    let traced = mesh(&[vec![(0..60).map(along).collect()]]);
    let simple = mesh(&[vec![(0..60).step_by(10).map(along).collect()]]);
    let hexagon = made(&simple, &traced, &Regularize::default());
    assert_ne!(hexagon.status, [Status::Circle]);
    let at = |i: usize| (TAU * i as f64 / 24.0).sin_cos().into();
    let round = mesh(&[vec![(0..24).map(at).map(|p: [f64; 2]| p.map(|x| 5.0 * x)).collect()]]);
    assert_eq!(run(&round).status, [Status::Circle]);
    let options = Regularize { circles: false, ..Regularize::default() };
    assert_ne!(made(&round, &round, &options).status, [Status::Circle]);
}

#[test]
fn short_jogs_are_straightened_and_long_ones_stay() {
    let stepped = |jog: f64| {
        let ring = [[0., 0.], [0., 8.], [6., 8.], [6., 8. + jog], [12., 8. + jog], [12., 0.]];
        run(&mesh(&[vec![ring.to_vec()]])).mesh.buildings[0][0].len()
    };
    assert_eq!((stepped(0.4), stepped(0.6)), (4, 6));
}

#[test]
fn a_step_that_looks_like_a_slope_becomes_a_step() {
    let ring = [[0., 0.], [0., 8.], [6., 8.], [6.9, 8.6], [12., 8.6], [12., 0.]];
    let found = &polygons(&run(&mesh(&[vec![ring.to_vec()]])).mesh)[0];
    assert_eq!(found.exterior().0.len(), 7);
    assert!(worst_corner(found) < 1e-9);
    assert!((found.unsigned_area() - (96.0 + 0.6 * 5.55)).abs() < 1e-9);
}

#[test]
fn a_cut_corner_is_completed_where_it_is_small() {
    let cut = |by: f64| {
        let ring = [[0., 0.], [0., 8.], [12. - by, 8.], [12., 8. - by], [12., 0.]];
        polygons(&run(&mesh(&[vec![ring.to_vec()]])).mesh)[0].clone()
    };
    let small = cut(0.6);
    assert_eq!(small.exterior().0.len(), 5);
    assert!((small.unsigned_area() - 96.0).abs() < 1e-3, "{}", small.unsigned_area());
    let large = cut(3.0);
    assert!((large.unsigned_area() - (96.0 - 4.5)).abs() < 1e-9, "a diagonal wall is no mistake");
    assert!((worst_corner(&large) - FRAC_PI_4).abs() < 1e-9);
}

#[test]
fn a_wing_at_an_angle_keeps_its_own_orientation() {
    // From (12, 8) the wing runs 10 m at 30 degrees; it is as wide as leads back to (12, 0).
    let (sine, cosine) = 30_f64.to_radians().sin_cos();
    let wing = |u: f64, v: f64| [12. + u * cosine + v * sine, 8. + u * sine - v * cosine];
    let end = [wing(10.1, -0.1), wing(9.9, 8. * cosine)];
    let ring = vec![[0., 0.], [0.2, 8.1], [12., 7.9], end[0], end[1], [12., 0.1]];
    let regular = run(&mesh(&[vec![ring]]));
    assert_eq!(regular.status, [Status::Regular]);
    let found = &polygons(&regular.mesh)[0];
    let mut turns: Vec<f64> = Vec::new();
    let lines: Vec<_> = found.exterior().lines().collect();
    for (i, a) in lines.iter().enumerate() {
        let b = lines[(i + 1) % lines.len()];
        turns.push((b.dy().atan2(b.dx()) - a.dy().atan2(a.dx())).to_degrees().rem_euclid(90.0));
    }
    let is_right = |turn: &&f64| turn.min(90.0 - **turn) < 1e-6;
    let right = turns.iter().filter(is_right).count();
    assert_eq!((right, turns.len()), (4, 6), "{turns:?}");
}

#[test]
fn fronts_that_nearly_agree_are_aligned() {
    let houses = row(&[(6.0, 0.0, 10.0), (6.0, 0.3, 9.7), (6.0, 0.1, 9.9)]);
    let regular = run(&houses);
    let mut fronts: Vec<f64> = (0..3)
        .map(|house| {
            let rings = rings_of(&regular.mesh, house);
            rings[0].iter().map(|p| p[1]).fold(f64::INFINITY, f64::min)
        })
        .collect();
    fronts.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    assert_eq!(fronts.len(), 1, "{fronts:?}");
    let corners: Vec<usize> = regular.mesh.buildings.iter().map(|b| b[0].len()).collect();
    assert_eq!(corners, [4, 4, 4]);
}

#[test]
fn a_building_that_does_not_pass_keeps_its_outline_and_its_neighbour_fits() {
    // The traced outline of the second house says that its simplified one has little to do with it.
    let simple =
        disturbed(&row(&[(8.0, 0.0, 10.0), (8.0, 0.0, 10.0)]), 0.3, &[(1., 0.), (-1., 1.)], 0.2);
    let mut traced = simple.clone();
    let far = traced.buildings[1][0].iter().copied().find(|v| !traced.buildings[0][0].contains(v));
    traced.points[far.unwrap() as usize][0] += 9.0;
    let regular = made(&simple, &traced, &Regularize::default());
    assert_eq!(regular.status, [Status::Regular, Status::Simplified]);
    assert_eq!(rings_of(&regular.mesh, 1), rings_of(&simple, 1));
    check(&regular.mesh).unwrap();
    let shared = |mesh: &Mesh| {
        let [a, b] = [0, 1].map(|house| mesh.buildings[house][0].clone());
        a.iter().filter(|v| b.contains(v)).count()
    };
    assert_eq!(shared(&regular.mesh), shared(&simple));
    // The corners away from the shared wall are right all the same.
    let mut corners = corners(&polygons(&regular.mesh)[0]);
    corners.sort_by(f64::total_cmp);
    assert!(corners[1] < 1e-9 && corners[2] > 1e-3, "{corners:?}");
}

#[test]
fn the_gate_sees_what_lies_where_it_must_not() {
    let mut courtyard = plan(4, 1.0);
    let houses = [courtyard.clone(), vec![vec![[30., 0.], [30., 9.], [39., 9.], [39., 0.]]]];
    let simple = mesh(&houses);
    let gate = |drawn: &Mesh| {
        let traced: Vec<_> =
            drawn.buildings.iter().map(|rings| shape(&drawn.points, rings)).collect();
        let (simple, traced, scene_m) = (&simple, &traced, PLACE.scene_m);
        let gate = Gate { simple, traced, scene_m, min_iou: 0.5, clearance_m: 0.01 };
        gate.check(drawn, &[false; 2]).err().unwrap_or_default()
    };
    assert_eq!(gate(&simple), [false; 0]);
    let inside = vec![vec![[1., 1.], [1., 4.], [4., 4.], [4., 1.]]];
    assert_eq!(gate(&mesh(&[courtyard.clone(), inside])), [true, true], "one in another");
    courtyard[1].iter_mut().for_each(|p| p[1] += 30.0);
    assert_eq!(gate(&mesh(&[courtyard, houses[1].clone()])), [true, false], "a hole outside");
}

#[test]
fn a_narrow_courtyard_survives_or_the_building_stays_as_it_is() {
    let mut rings = plan(0, 1.0);
    rings.push(vec![[4., 6.], [16., 6.], [16., 6.4], [4., 6.4]]);
    let regular = run(&mesh(&[rings]));
    assert_eq!(regular.mesh.buildings[0].len(), 2);
    assert_eq!(polygons(&regular.mesh)[0].interiors().len(), 1);
    assert!(MultiPolygon(polygons(&regular.mesh)).is_valid());
}

fn regular_of(traced: &Mesh, options: &Regularize) -> Regular {
    let Place { pixel_m, scene_m } = PLACE;
    regularize(traced, |scale| simplify(traced, 0.5 * scale, pixel_m, scene_m), options, PLACE)
}

#[test]
fn rough_walls_become_straight_and_clear_ones_keep_their_steps() {
    let corners = |traced: &Mesh, rough_scale: f64| {
        let options = Regularize { rough_scale, ..Regularize::default() };
        let regular = regular_of(traced, &options);
        assert_eq!(regular.status, [Status::Regular]);
        regular.mesh.buildings[0][0].len()
    };
    let rough = waving(16.0, 12.0, 0.25, 6.0, 0.6);
    assert!(corners(&rough, 1.0) > 8, "{}", corners(&rough, 1.0));
    assert_eq!(corners(&rough, 2.0), 4);
    // A step as high as those waves are from crest to trough, in walls without any.
    let step = [[0., 0.], [0., 12.], [8., 12.], [8., 13.2], [16., 13.2], [16., 0.]];
    let clear = mesh(&[vec![step.to_vec()]]);
    assert_eq!(corners(&clear, 2.0), 6);
}

#[test]
fn the_edge_of_the_scene_is_no_wall() {
    // A house 8 m wide at 20 degrees, of which the scene's left edge hides an end.
    let (sine, cosine) = 20_f64.to_radians().sin_cos();
    let (a, b): (Point, Point) = ([14.0 - 8.0 * sine, 30.0 + 8.0 * cosine], [14.0, 30.0]);
    let cut = |p: Point| [0.0, p[1] - p[0] * sine / cosine];
    let off = [b[0] + 0.2, b[1] + 0.1];
    let points = vec![cut(b), cut(a), a, off];
    let cut_off = Mesh { points, buildings: vec![vec![vec![0, 1, 2, 3]]] };
    let regular = run(&cut_off);
    assert_eq!(regular.status, [Status::Regular]);
    let ring = &rings_of(&regular.mesh, 0)[0];
    assert!(ring.len() == 4 && ring[0][0].abs() < 1e-9 && ring[1][0].abs() < 1e-9, "{ring:?}");
    let angle = |from: Point, to: Point| (to[1] - from[1]).atan2(to[0] - from[0]).to_degrees();
    let walls = [angle(ring[1], ring[2]), angle(ring[3], ring[2]) - 90.0, angle(ring[0], ring[3])];
    assert!((walls[0] - 20.0).abs() < 1.0, "{walls:?}");
    assert!((walls[0] - walls[1]).abs() < 1e-9 && (walls[0] - walls[2]).abs() < 1e-9);

    // One at 6 degrees to the edge, which cuts off a long wall.
    let (sine, cosine) = 6_f64.to_radians().sin_cos();
    let at = |down: f64, right: f64| -> Point {
        [down * sine + right * cosine, 30.0 + down * cosine - right * sine]
    };
    let top = at(-6.0, 6.0 * sine / cosine);
    let points = vec![top, at(0.0, 0.0), at(10.3, 0.1), at(9.8, 8.1), at(-6.0, 8.0)];
    assert!(top[0].abs() < 1e-9);
    let regular = run(&Mesh { points, buildings: vec![vec![(0..5).collect()]] });
    assert_eq!(regular.status, [Status::Regular]);
    let ring = &rings_of(&regular.mesh, 0)[0];
    assert!(ring.len() == 5 && ring[0][0].abs() < 1e-9 && ring[1][0].abs() < 1e-9, "{ring:?}");
}
