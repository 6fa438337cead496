//! Floods, as pictures: what is left of them when they have been judged again and again.

use super::*;

fn cell(plugin: &str, class: Class, slot: i64, rows: i64) -> Cell {
    Cell { plugin: plugin.into(), class, slot, rows, bytes: rows * 1_000, passes: 0 }
}

/// Lets go what is judged until no more than `bytes_max` is left.
fn shrink(mut cells: Vec<Cell>, now_slot: i64, bytes_max: i64) -> Vec<Cell> {
    for _ in 0..100_000 {
        let used = bytes(&cells, |_| true);
        if used <= bytes_max {
            return cells;
        }
        let targets = judge(&cells, now_slot, used - bytes_max);
        assert!(!targets.is_empty(), "{used} bytes and nothing to go");
        for target in targets {
            let at = |cell: &&mut Cell| {
                (&cell.plugin, cell.class, cell.slot) == (&target.plugin, target.class, target.slot)
            };
            let cell = cells.iter_mut().find(at).unwrap();
            cell.rows = if target.whole { 0 } else { cell.rows / 2 };
            cell.bytes = cell.rows * 1_000;
            cell.passes += 1;
        }
        cells.retain(|cell| cell.rows > 0);
    }
    panic!("it never ends");
}

fn rows(cells: &[Cell], plugin: &str, class: Class) -> i64 {
    cells.iter().filter(|cell| cell.plugin == plugin && cell.class == class).map(|cell| cell.rows).sum()
}

#[test]
fn a_flood_does_not_push_out_a_plugin_that_is_rarely_called() {
    let mut cells = Vec::new();
    for slot in 0..1_000 {
        cells.push(cell("flood", Class::Ordinary, slot, 300_000));
        cells.push(cell("rare", Class::Ordinary, slot, 10));
        cells.push(cell("rare", Class::Failed, slot, 1));
        cells.push(cell("flood", Class::Failed, slot, 3));
    }
    let left = shrink(cells, 999, 1_000_000_000);
    assert_eq!(rows(&left, "rare", Class::Ordinary), 10_000, "all of them");
    assert_eq!(rows(&left, "rare", Class::Failed), 1_000);
    assert_eq!(rows(&left, "flood", Class::Failed), 3_000);
    let flood: Vec<&Cell> =
        left.iter().filter(|cell| cell.plugin == "flood" && cell.class == Class::Ordinary).collect();
    assert!(flood.len() > 990, "a sample of every time is left: {}", flood.len());
    // It gets thinner with age.
    let of = |from: i64, to: i64| {
        flood.iter().filter(|cell| (from..to).contains(&cell.slot)).map(|cell| cell.rows).sum::<i64>()
    };
    assert!(of(900, 1_000) > 4 * of(500, 600), "{} {}", of(900, 1_000), of(500, 600));
    assert!(rows(&left, "flood", Class::Ordinary) > 900_000, "room is used");
}

#[test]
fn two_floods_share_what_there_is() {
    let cells = (0..100)
        .flat_map(|slot| [cell("a", Class::Ordinary, slot, 100_000), cell("b", Class::Ordinary, slot, 3_000)])
        .collect();
    let left = shrink(cells, 99, 200_000_000);
    let (a, b) = (rows(&left, "a", Class::Ordinary), rows(&left, "b", Class::Ordinary));
    assert!((80_000..=120_000).contains(&a) && (80_000..=120_000).contains(&b), "{a} {b}");
}

#[test]
fn failed_calls_stay_until_they_are_most_of_what_there_is_and_then_share_too() {
    let mut cells: Vec<Cell> = (0..100).map(|slot| cell("loop", Class::Failed, slot, 100_000)).collect();
    cells.extend((0..100).map(|slot| cell("other", Class::Failed, slot, 20)));
    cells.extend((0..100).map(|slot| cell("other", Class::Ordinary, slot, 500)));
    cells.extend((0..100).map(|slot| cell("other", Class::Slow, slot, 25)));
    let left = shrink(cells, 99, 100_000_000);
    assert_eq!(
        rows(&left, "other", Class::Failed),
        2_000,
        "a crash loop does not push out failures of others"
    );
    assert!(rows(&left, "other", Class::Ordinary) > 20_000, "nor all good calls");
    assert!(rows(&left, "other", Class::Slow) == 2_500);
}

#[test]
fn slow_calls_stay_longer_than_ordinary_ones() {
    let mut cells: Vec<Cell> = (0..100).map(|slot| cell("a", Class::Ordinary, slot, 10_000)).collect();
    cells.extend((0..100).map(|slot| cell("a", Class::Slow, slot, 500)));
    let left = shrink(cells, 99, 300_000_000);
    assert_eq!(rows(&left, "a", Class::Slow), 50_000);
}

#[test]
fn lines_outside_of_calls_have_a_share_and_the_oldest_go() {
    let mut cells: Vec<Cell> = (0..100).map(|slot| cell("", Class::Outside, slot, 10_000)).collect();
    cells.extend((0..100).map(|slot| cell("a", Class::Ordinary, slot, 1_000)));
    let left = shrink(cells, 99, 200_000_000);
    assert_eq!(rows(&left, "a", Class::Ordinary), 100_000);
    let outside: Vec<i64> =
        left.iter().filter(|cell| cell.class == Class::Outside).map(|cell| cell.slot).collect();
    assert_eq!(outside, (100 - outside.len() as i64..100).collect::<Vec<_>>());
    assert!((8..=12).contains(&outside.len()), "{outside:?}");
}

#[test]
fn a_plugin_that_prints_much_pays_for_its_lines() {
    let mut cells: Vec<Cell> = (0..10).map(|slot| cell("chatty", Class::Ordinary, slot, 100)).collect();
    cells.extend((0..10).map(|slot| cell("chatty", Class::Lines, slot, 100_000)));
    cells.extend((0..10).map(|slot| cell("quiet", Class::Ordinary, slot, 200)));
    assert!(judge(&cells, 9, 1).iter().all(|target| target.plugin == "chatty"));
}

#[test]
fn nothing_is_asked_of_nothing() {
    assert!(judge(&[], 0, 1_000).is_empty());
    assert!(judge(&[cell("a", Class::Lines, 0, 10)], 0, 1_000).is_empty());
}
