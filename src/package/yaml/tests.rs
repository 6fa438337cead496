use super::*;

fn read(text: &str) -> Node {
    let (node, diagnostics) = parse("t.yaml", text.as_bytes());
    assert!(diagnostics.valid(), "{diagnostics:?}");
    node.unwrap()
}

fn codes_of(text: &[u8]) -> Vec<&'static str> {
    parse("t.yaml", text).1.sorted().iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn scalars_follow_the_core_schema_of_yaml_1_2() {
    let node = read(
        "[~, true, no, on, 1, -1, 0x1F, 0o17, 007, 1.10, 1e3, .5, '1', \"a\\tb\", 1.2.3, 1_000, -a, 2026-01-01]",
    );
    let expected = serde_json::json!([
        null,
        true,
        "no",
        "on",
        1,
        -1,
        31,
        15,
        7,
        1.1,
        1000.0,
        0.5,
        "1",
        "a\tb",
        "1.2.3",
        "1_000",
        "-a",
        "2026-01-01"
    ]);
    assert_eq!(node.to_json(), expected);
}

#[test]
fn the_text_of_a_number_is_kept() {
    let node = read("version: 1.10\n");
    assert_eq!(node.get("version").unwrap().raw.as_deref(), Some("1.10"));
}

#[test]
fn every_key_and_value_has_its_place() {
    let text = "a:\n  ä: [1, {b: c}]\nd: |\n  text\n";
    let node = read(text);
    let (key, a) = &node.as_map().unwrap()[0];
    assert_eq!((key.place.line, key.place.column, &text[key.place.start..key.place.end]), (1, 1, "a"));
    let list = a.get("ä").unwrap();
    assert_eq!(
        (list.place.line, list.place.column, &text[list.place.start..list.place.end]),
        (2, 6, "[1, {b: c}]")
    );
    let c = list.as_seq().unwrap()[1].get("b").unwrap();
    assert_eq!((c.place.line, c.place.column, &text[c.place.start..c.place.end]), (2, 14, "c"));
    assert_eq!(node.place_at("/a/ä/1/b"), c.place);
    assert_eq!(node.place_at("/a/ä/7"), list.place);
}

#[test]
fn keys_are_texts_whatever_yaml_makes_of_them() {
    let node = read("200: a\ntrue: b\n1.10: c\n~: d\n");
    let names: Vec<&str> = node.as_map().unwrap().iter().map(|(key, _)| key.name.as_str()).collect();
    assert_eq!(names, ["200", "true", "1.10", "~"]);
}

#[test]
fn json_is_read_with_its_escapes() {
    let text = "{\t\"a\\/b\": \"\\ud83d\\ude00\",\n\t\"n\": [1, 2.5, null, true], \"u\":\"v\"}";
    let (node, diagnostics) = parse("plugin.json", text.as_bytes());
    assert!(diagnostics.valid(), "{diagnostics:?}");
    let expected: Value = serde_json::from_str(text).unwrap();
    assert_eq!(node.unwrap().to_json(), expected);
}

#[test]
fn a_json_file_must_be_json() {
    let (node, diagnostics) = parse("plugin.json", b"{\"a\": 1,\n  \"b\": 2,\n}");
    assert!(node.is_none());
    let first = diagnostics.sorted()[0].clone();
    assert_eq!((first.code, first.place.line, first.place.column), (codes::SYNTAX, 3, 1));
}

#[test]
fn aliases_are_copies_within_the_budget() {
    let node = read("a: &x {k: 1}\nb: *x\n");
    assert_eq!(node.get("b").unwrap().get("k").unwrap().to_json(), 1);
    assert_eq!(codes_of(b"a: &x [*x]\n"), [codes::SYNTAX]);
    assert_eq!(codes_of(b"a: *nowhere\n"), [codes::SYNTAX]);
}

#[test]
fn duplicate_and_merge_keys_are_refused_and_reading_goes_on() {
    let text = b"a: 1\nb: {c: 1, c: 2}\na: 2\nd: {<<: {e: 1}}\n";
    assert_eq!(codes_of(text), [codes::DUPLICATE_KEY, codes::DUPLICATE_KEY, codes::MERGE_KEY]);
    let (_, diagnostics) = parse("t.yaml", text);
    let last = diagnostics.sorted()[1].clone();
    assert_eq!((last.place.line, last.related.unwrap().0.line), (3, 1));
}

#[test]
fn what_json_cannot_hold_is_refused() {
    for text in ["a: .nan", "a: -.inf", "a: 1e999", "a: 18446744073709551616", "a: -9223372036854775809"] {
        assert_eq!(codes_of(text.as_bytes()), [codes::NUMBER], "{text}");
    }
    assert_eq!(read("a: 18446744073709551615").get("a").unwrap().to_json(), u64::MAX);
}

#[test]
fn hostile_texts_are_refused() {
    let nested = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let deep_block: String = (0..40).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let mut laughs = String::from("a: &a [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
    for (before, name) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        laughs += &format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 7].join(","));
    }
    let large_scalar = format!("a: &a {}\nb: [{}]\n", "x".repeat(13_000), vec!["*a"; 60].join(","));
    let cases: &[(&str, Vec<u8>)] = &[
        (codes::TOO_DEEP, nested.into()),
        (codes::TOO_DEEP, deep_block.into()),
        (codes::TOO_MUCH, laughs.into()),
        (codes::TOO_MUCH, large_scalar.into()),
        (codes::TOO_MUCH, "[],".repeat(12_000).replacen('[', "[[", 1).into()),
        (codes::CONTROL_CHARACTER, b"a: \x1b[31m".to_vec()),
        (codes::CONTROL_CHARACTER, b"a: \0".to_vec()),
        (codes::NOT_UTF8, b"a: \xff".to_vec()),
        (codes::TOO_LARGE, vec![b' '; INPUT_BYTES_MAX + 1]),
        (codes::EMPTY, b"".to_vec()),
        (codes::EMPTY, b"# only words\n".to_vec()),
        (codes::MANY_DOCUMENTS, b"a: 1\n---\nb: 1\n".to_vec()),
        (codes::TAG, b"a: !!python/object:os.system x\n".to_vec()),
        (codes::TAG, b"a: !include secrets.yaml\n".to_vec()),
        (codes::KEY, b"? [a]\n: b\n".to_vec()),
        (codes::SYNTAX, b"a:\n\tb: 1\n".to_vec()),
    ];
    for (code, text) in cases {
        assert_eq!(
            codes_of(text).first(),
            Some(code),
            "{:?}",
            String::from_utf8_lossy(&text[..text.len().min(80)])
        );
    }
}
