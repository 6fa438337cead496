//! What a stranger sends must be refused quickly and in little memory, whatever it is.

#![allow(unsafe_code, reason = "an allocator that counts cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use spanglass::package::Package;
use spanglass::package::read;

/// More memory than before, in bytes.
const MEMORY_MAX: usize = 16 << 20;

/// The promise is 50 ms; a build without optimisation is some ten times slower.
const TIME_MAX: Duration =
    if cfg!(debug_assertions) { Duration::from_millis(1000) } else { Duration::from_millis(50) };

/// Counts what the current thread holds, so that tests beside this one do not matter.
struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn grow(bytes: usize) {
    let live = LIVE.get().wrapping_add(bytes);
    LIVE.set(live);
    // A thread may free what another took: below zero counts as nothing.
    if live < isize::MAX as usize {
        PEAK.set(PEAK.get().max(live));
    }
}

fn shrink(bytes: usize) {
    LIVE.set(LIVE.get().wrapping_sub(bytes));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches two thread-local numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        shrink(layout.size());
        // SAFETY: as our caller promised.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Time that this thread spent computing: the machine may be busy with other things.
fn time_on_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// Best of three, for caches are not always warm.
fn measure(mut run: impl FnMut()) -> (Duration, usize) {
    let mut best = (Duration::MAX, usize::MAX);
    for _ in 0..3 {
        let before = LIVE.get();
        PEAK.set(before);
        let start = time_on_cpu();
        run();
        best =
            (best.0.min(time_on_cpu().saturating_sub(start)), best.1.min(PEAK.get().saturating_sub(before)));
    }
    best
}

fn check(name: &str, run: impl FnMut()) {
    let (time, memory) = measure(run);
    assert!(time < TIME_MAX, "{name} took {time:?}");
    assert!(memory < MEMORY_MAX, "{name} took {memory} bytes");
    if std::env::var_os("SPANGLASS_TEST_FIGURES").is_some() {
        eprintln!("{name}: {time:?}, {} KiB", memory >> 10);
    }
}

fn filled(prefix: &str, unit: &str, suffix: &str) -> Vec<u8> {
    let count = ((64 << 10) - 64 - prefix.len() - suffix.len()) / unit.len();
    format!("{prefix}{}{suffix}", unit.repeat(count)).into_bytes()
}

fn numbered(prefix: &str, line: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text = prefix.to_owned();
    for index in 0.. {
        let line = line(index);
        if text.len() + line.len() > 64 << 10 {
            break;
        }
        text.push_str(&line);
    }
    text.into_bytes()
}

#[test]
fn hostile_manifests_are_refused_quickly_and_in_little_memory() {
    const HEAD: &str = "name: greet\nversion: 1.0.0\n";
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/manifest");
    for case in fs::read_dir(folder).unwrap().map(|case| case.unwrap().path()) {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("hostile") {
            cases.push((name, fs::read(case.join("manifest.yaml")).unwrap()));
        }
    }
    assert!(cases.len() >= 8);
    let mut add = |name: &str, bytes: Vec<u8>| cases.push((name.to_owned(), bytes));
    add("too large", vec![b'a'; 1 << 20]);
    add("open brackets", filled(HEAD, "[", ""));
    add("open braces", filled(HEAD, "{", ""));
    add("open braces with keys", filled(HEAD, "{a: ", ""));
    add("closed brackets", filled("x-a: ", "[],", ""));
    add("dashes", filled("", "- ", ""));
    add("question marks", filled("", "? ", ""));
    add("colons", filled("", ": ", ""));
    add("open quote", filled("x-a: \"", "a", ""));
    add("backslashes", filled("x-a: \"", "\\\\", "\""));
    add("long key", filled("", "k", ": 1\n"));
    add("long tag", filled("x-a: !", "t", " 1\n"));
    add("long anchor", filled("x-a: &", "t", " 1\n"));
    add("long number", filled("x-a: ", "9", "\n"));
    add("folded text", filled("x-a: >\n", " a\n\n", ""));
    add("comments", filled(HEAD, "#\n", "x"));
    add("empty lines", filled(HEAD, "\n", "x"));
    add("percent signs", filled("", "%A B\n", ""));
    add("anchors", numbered("", |index| format!("x-{index}: &a{index} 1\n")));
    add("aliases", filled("x-a: &a [1, 2, 3]\nx-b: [", "*a,", "1]\n"));
    add("large text, repeated", filled("x-a: &a ", "t", &format!("\nx-b: [{}]\n", "*a,".repeat(60))));
    add("nested anchors", numbered("", |index| format!("{}a: &a{index}\n", " ".repeat(index))));
    add("unknown keys", numbered("", |index| format!("key{index}: 1\n")));
    add("duplicate keys", filled("", "name: a\n", ""));
    add("wrong keys everywhere", filled("examples:\n", "- {a: 1}\n", ""));
    add("wrong types everywhere", numbered("input:\n", |index| format!("  f{index}: strin\n")));
    add("wrong schemas", numbered("input:\n", |index| format!("  f{index}: {{type: strin}}\n")));
    add(
        "patterns",
        numbered(&format!("{HEAD}input:\n"), |index| format!("  f{index}: {{pattern: 'a{{1000}}'}}\n")),
    );
    let large: String =
        (0..32).map(|index| format!("  f{index}: {{pattern: '[a-z]{{{}}}'}}\n", 500 + index)).collect();
    add("large patterns", format!("{HEAD}input:\n{large}").into());
    add(
        "references",
        numbered(&format!("{HEAD}input_schema:\n  $defs: {{}}\n  allOf:\n"), |_| {
            "  - {$ref: '#'}\n".to_owned()
        }),
    );
    add(
        "alternatives",
        numbered(&format!("{HEAD}input_schema:\n  anyOf:\n"), |index| format!("  - {{const: {index}}}\n")),
    );
    add(
        "one huge enum",
        numbered(&format!("{HEAD}input_schema:\n  enum:\n"), |index| format!("  - {index}\n")),
    );
    for (name, bytes) in &cases {
        check(name, || {
            let _ = read::read("manifest.yaml", bytes, None);
        });
    }
    for (name, bytes) in &cases {
        // As JSON they are mostly no JSON; that, too, must be found quickly.
        check(&format!("{name}, as JSON"), || {
            let _ = read::read("plugin.json", bytes, None);
        });
    }
}

#[test]
fn hostile_archives_are_refused_quickly_and_in_little_memory() {
    let refuse = |name: &str, zip: Vec<u8>| {
        let zip = Bytes::from(zip);
        check(name, || {
            assert!(Package::from_zip_bytes(zip.clone()).is_err(), "{name}");
        });
    };
    refuse("noise", (0..1u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect());
    refuse("ends without an archive", b"PK\x05\x06".repeat(1 << 18));
    refuse("60,000 empty entries", archive((0..60_000).map(|index| format!("f{index}"))));
    refuse("20,000 long names", archive((0..20_000).map(|index| format!("{}{index}", "n".repeat(150)))));
    let deep = |index: usize| format!("{index}/{}x", format!("d{index}/").repeat(30));
    refuse("20,000 deep names", archive((0..20_000).map(deep)));
    refuse("20,000 names and no manifest", archive((0..20_000).map(|index| format!("f{index}"))));
    refuse("a zip bomb", bomb());
}

/// Stored entries without content.
fn archive(names: impl Iterator<Item = String>) -> Vec<u8> {
    let (mut zip, mut directory, mut count) = (Vec::new(), Vec::new(), 0u32);
    for name in names {
        let length = (name.len() as u16).to_le_bytes();
        directory.extend(b"PK\x01\x02\x14\x03\x14\0");
        directory.extend([0; 20]);
        directory.extend(length);
        directory.extend([0; 12]);
        directory.extend((zip.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        zip.extend(b"PK\x03\x04\x14\0");
        zip.extend([0; 20]);
        zip.extend(length);
        zip.extend([0; 2]);
        zip.extend(name.as_bytes());
        count += 1;
    }
    let start = zip.len() as u32;
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    let count = (count as u16).to_le_bytes();
    zip.extend(count);
    zip.extend(count);
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0; 2]);
    zip
}

fn bomb() -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, content) in [("manifest.yaml", "name: greet\nversion: 1.0.0\n"), ("executor.py", "")] {
        writer.start_file(name, options).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.start_file("bomb", options).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..32 {
        writer.write_all(&zeros).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
