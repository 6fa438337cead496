use super::*;

/// A stream of cells: a place that wanders between 0 and 1 and keeps so much of where it was.
fn blocks(
    seed: u64,
    calls: usize,
    keeps: f64,
    cell: impl Fn(f64, &mut fastrand::Rng) -> usize,
) -> Vec<Vec<u32>> {
    let mut random = fastrand::Rng::with_seed(seed);
    // Twelve uniform numbers make something like a normal one.
    let normal = |random: &mut fastrand::Rng| (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
    let mut place = normal(&mut random);
    let mut next = || {
        place = keeps * place + (1.0 - keeps * keeps).sqrt() * normal(&mut random);
        cell(0.5 + place / 6.0, &mut random)
    };
    (0..calls / block_calls(calls))
        .map(|_| {
            let mut counts = vec![0; 8];
            (0..block_calls(calls)).for_each(|_| counts[next()] += 1);
            counts
        })
        .collect()
}

fn fifth(place: f64, _: &mut fastrand::Rng) -> usize {
    ((place * 5.0) as usize).min(4)
}

fn median(of: impl Fn(u64) -> f64) -> f64 {
    let mut found: Vec<f64> = (0..41).map(of).collect();
    found.sort_by(f64::total_cmp);
    found[found.len() / 2]
}

#[test]
fn independent_samples_have_no_dispersion() {
    let none = (0..100).filter(|seed| dispersion(&blocks(*seed, 500, 0.0, fifth)) == Dispersion::default());
    assert!(none.count() >= 80);
}

/// A sum of what keeps so much varies `(1 + keeps) / (1 - keeps)` times as much; somewhat more is taken for lack of blocks.
#[test]
fn what_depends_on_the_past_has_about_what_theory_says() {
    for (keeps, theory) in [(0.5, 3.0), (0.8, 9.0)] {
        let found = median(|seed| dispersion(&blocks(seed, 1_000, keeps, fifth)).place);
        assert!(found > theory * 0.8 && found < theory * 1.8, "{keeps}: {found}");
        let table = median(|seed| dispersion(&blocks(seed, 1_000, keeps, fifth)).values);
        assert!(table > 1.2 && table < found, "{keeps}: {table}");
    }
}

/// Runs of 20 that are alike, and begin where blocks do: a variance of 20 times as much. The model takes it for 25, and half as
/// much again is added for lack of blocks.
#[test]
fn runs_are_about_as_long_as_they_are() {
    let found = median(|seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let cells: Vec<usize> = (0..25).map(|_| random.usize(..5)).collect();
        let block = |at: usize| (0..8).map(|cell| if cells[at / 4] == cell { 5 } else { 0 }).collect();
        dispersion(&(0..100).map(block).collect::<Vec<_>>()).place
    });
    assert!(found > 16.0 && found < 42.0, "{found}");
}

#[test]
fn nulls_have_their_own() {
    let independent = |place: f64, random: &mut fastrand::Rng| match random.f64() < 0.05 {
        true => 6,
        false => fifth(place, random),
    };
    let found = median(|seed| dispersion(&blocks(seed, 500, 0.8, independent)).missing);
    assert_eq!(found, 1.0, "values depend on the past, nulls do not");
    let clustered =
        |place: f64, random: &mut fastrand::Rng| if place > 0.75 { 6 } else { fifth(place, random) };
    assert!(median(|seed| dispersion(&blocks(seed, 500, 0.9, clustered)).missing) > 3.0);
}

#[test]
fn with_too_few_or_empty_blocks_nothing_is_known() {
    for blocks in
        [vec![], vec![vec![]; 40], vec![vec![0; 8]; 40], vec![vec![9, 0, 0, 0, 0]; 40], vec![vec![5; 8]; 7]]
    {
        assert_eq!(dispersion(&blocks), Dispersion::default(), "{blocks:?}");
    }
    let hostile: Vec<Vec<u32>> = (0..40)
        .map(|at| [&[u32::MAX; 9][..], &[0], &[1, 2], &[0, u32::MAX, 0, 0, 7]][at % 4].to_vec())
        .collect();
    let found = dispersion(&hostile);
    assert!(
        [found.values, found.place, found.other, found.missing]
            .iter()
            .all(|factor| *factor >= 1.0 && factor.is_finite())
    );
}

#[test]
fn blocks_are_few() {
    assert_eq!([200, 500, 1_000, 2_000, 100_000].map(block_calls), [5, 5, 5, 10, 500]);
}

#[test]
fn what_only_grows_or_falls_is_known() {
    let of = |cells: &dyn Fn(usize) -> usize| {
        let blocks: Vec<Vec<u32>> = (0..100)
            .map(|at| {
                let mut counts = vec![0; 13];
                counts[cells(at)] = 5;
                counts
            })
            .collect();
        dispersion(&blocks).grows
    };
    assert!(of(&|at| at / 10) && of(&|at| 9 - at / 10), "a counter");
    assert!(
        !of(&|_| 3) && !of(&|at| at % 10) && !of(&|at| usize::from(at == 99)),
        "a constant, a saw, one outlier"
    );
    let wave = |at: usize| (5.0 + 4.0 * (at as f64 / 16.0).sin()) as usize;
    assert!(!of(&wave));
    for keeps in [0.0, 0.95] {
        assert!((0..50).all(|seed| !dispersion(&blocks(seed, 500, keeps, fifth)).grows));
    }
}
