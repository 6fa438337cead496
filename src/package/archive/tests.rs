use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::package::Package;

const MANIFEST: &str = "name: greet\nversion: 1.0.0\n";
const EXECUTOR: &str = "def invoke(input_data):\n    return {}\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn plugin() -> TempDir {
    folder(&[("manifest.yaml", MANIFEST), ("executor.py", EXECUTOR), ("data/words.txt", "a b c\n")])
}

fn zip_of(package: &Package) -> Vec<u8> {
    let mut zip = Cursor::new(Vec::new());
    package.write_zip(&mut zip).unwrap();
    zip.into_inner()
}

/// One entry of a hand-made archive; what is `None` is told truthfully.
#[derive(Clone, Default)]
struct Forged {
    name: Vec<u8>,
    content: Vec<u8>,
    deflated: bool,
    local_name: Option<Vec<u8>>,
    size: Option<u32>,
    packed: Option<u32>,
    crc32: Option<u32>,
    flags: u16,
    method: Option<u16>,
    mode: u32,
    offset: Option<u32>,
}

fn entry(name: &str, content: &[u8]) -> Forged {
    Forged { name: name.into(), content: content.into(), ..Forged::default() }
}

/// Writes what no honest tool writes.
fn forge(entries: &[Forged]) -> Vec<u8> {
    let mut zip = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let packed = match entry.deflated {
            true => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
                encoder.write_all(&entry.content).unwrap();
                encoder.finish().unwrap()
            }
            false => entry.content.clone(),
        };
        let mut crc = flate2::Crc::new();
        crc.update(&entry.content);
        let method = entry.method.unwrap_or(if entry.deflated { 8 } else { 0 });
        let offset = entry.offset.unwrap_or(zip.len() as u32);
        let mut common = Vec::new();
        common.extend(20u16.to_le_bytes());
        common.extend(entry.flags.to_le_bytes());
        common.extend(method.to_le_bytes());
        common.extend([0; 4]);
        common.extend(entry.crc32.unwrap_or(crc.sum()).to_le_bytes());
        common.extend(entry.packed.unwrap_or(packed.len() as u32).to_le_bytes());
        common.extend(entry.size.unwrap_or(entry.content.len() as u32).to_le_bytes());
        if entry.offset.is_none() {
            let name = entry.local_name.as_ref().unwrap_or(&entry.name);
            zip.extend(b"PK\x03\x04");
            zip.extend(&common);
            zip.extend((name.len() as u16).to_le_bytes());
            zip.extend([0; 2]);
            zip.extend(name);
            zip.extend(&packed);
        }
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        directory.extend((entry.name.len() as u16).to_le_bytes());
        directory.extend([0; 8]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
    }
    let start = zip.len() as u32;
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend((entries.len() as u16).to_le_bytes());
    zip.extend((entries.len() as u16).to_le_bytes());
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0; 2]);
    zip
}

fn with_plugin(more: &[Forged]) -> Vec<u8> {
    let mut entries =
        vec![entry("manifest.yaml", MANIFEST.as_bytes()), entry("executor.py", EXECUTOR.as_bytes())];
    entries.extend_from_slice(more);
    forge(&entries)
}

fn refusal(zip: Vec<u8>) -> PackageError {
    match Package::from_zip_bytes(Bytes::from(zip)) {
        Err(error) => error,
        Ok(package) => panic!("accepted {:?}", package.files.names().collect::<Vec<_>>()),
    }
}

#[test]
fn a_folder_and_its_zip_are_the_same_package() {
    let folder = plugin();
    fs::create_dir_all(folder.path().join("__pycache__")).unwrap();
    fs::write(folder.path().join("__pycache__/executor.cpython-311.pyc"), "x").unwrap();
    fs::write(folder.path().join("greet-0.9.0.zip"), "an older package").unwrap();
    let package = Package::load(folder.path()).unwrap();
    assert_eq!(package.files.names().collect::<Vec<_>>(), ["data/words.txt", "executor.py", "manifest.yaml"]);
    let zip = zip_of(&package);
    let again = Package::from_zip_bytes(Bytes::from(zip.clone())).unwrap();
    assert_eq!(again.digest, package.digest);
    assert_eq!(again.file_name(), "greet-1.0.0.zip");
    assert_eq!(zip_of(&again), zip);
    let path = folder.path().join("copy.zip");
    fs::write(&path, &zip).unwrap();
    assert_eq!(Package::load(&path).unwrap().digest, package.digest);
}

#[test]
fn the_digest_is_what_sha256sum_would_say() {
    let folder = folder(&[("manifest.yaml", MANIFEST), ("executor.py", EXECUTOR)]);
    let sum = |content: &str| hex(&Sha256::digest(content));
    let list = format!("{}  executor.py\n{}  manifest.yaml\n", sum(EXECUTOR), sum(MANIFEST));
    assert_eq!(Package::load(folder.path()).unwrap().digest, format!("sha256:{}", sum(&list)));
}

#[test]
fn times_permissions_and_the_folder_do_not_change_a_byte() {
    use std::os::unix::fs::PermissionsExt;
    let (first, second) = (plugin(), plugin());
    let executor = second.path().join("executor.py");
    fs::set_permissions(&executor, fs::Permissions::from_mode(0o755)).unwrap();
    fs::File::open(&executor).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let zip = |folder: &TempDir| zip_of(&Package::load(folder.path()).unwrap());
    assert_eq!(zip(&first), zip(&second));
}

#[test]
fn what_is_a_program_can_be_executed_whatever_its_mode_was() {
    use std::os::unix::fs::PermissionsExt;
    let files =
        [("executor.py", EXECUTOR), ("manifest.yaml", MANIFEST), ("run", "#!/bin/sh\n"), ("true", "\x7fELF")];
    let folder = folder(&files);
    let from_folder = Package::load(folder.path()).unwrap();
    let from_zip = Package::from_zip_bytes(Bytes::from(zip_of(&from_folder))).unwrap();
    assert_eq!(from_zip.digest, from_folder.digest);
    let target = TempDir::new().unwrap();
    for (package, name) in [(from_folder, "folder"), (from_zip, "zip")] {
        let place = target.path().join(name);
        package.unpack_into(&place).unwrap();
        let executable = |name| fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o100 != 0;
        assert_eq!(["executor.py", "run", "true"].map(executable), [false, true, true], "{name}");
    }
}

#[test]
fn unpacking_gives_the_files_and_refuses_what_exists() {
    let folder = plugin();
    let package =
        Package::from_zip_bytes(Bytes::from(zip_of(&Package::load(folder.path()).unwrap()))).unwrap();
    let target = TempDir::new().unwrap();
    let place = target.path().join("a/b");
    package.unpack_into(&place).unwrap();
    assert_eq!(fs::read_to_string(place.join("data/words.txt")).unwrap(), "a b c\n");
    assert!(matches!(package.unpack_into(&place), Err(PackageError::Exists { .. })));
    assert_eq!(fs::read_dir(target.path().join("a")).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_file_that_changes_after_it_was_read_is_noticed() {
    let folder = plugin();
    let package = Package::load(folder.path()).unwrap();
    for content in ["longer than it was before\n", "x", "c b a\n"] {
        fs::write(folder.path().join("data/words.txt"), content).unwrap();
        let mut zip = Cursor::new(Vec::new());
        assert!(matches!(package.write_zip(&mut zip), Err(PackageError::Changed { .. })), "{content}");
    }
    let target = TempDir::new().unwrap();
    assert!(package.unpack_into(&target.path().join("a")).is_err());
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let names = [
        "../evil.py",
        "a/../../evil.py",
        "/etc/passwd",
        "C:evil.py",
        "C:/evil.py",
        "a\\..\\evil.py",
        "\\\\host\\share",
        "a\0.py",
        "a//b.py",
        "./a.py",
        "a/./b.py",
        "",
        "a\nb.py",
        "a\u{1b}[31m.py",
    ];
    for name in names {
        assert!(
            matches!(refusal(with_plugin(&[entry(name, b"x")])), PackageError::BadName { .. }),
            "{name:?}"
        );
    }
    let not_utf8 = Forged { name: b"caf\xe9.py".to_vec(), ..Forged::default() };
    assert!(matches!(refusal(with_plugin(&[not_utf8])), PackageError::BadName { .. }));
}

#[test]
fn names_that_collide_are_refused() {
    for (first, second) in [
        ("a.py", "a.py"),
        ("a.py", "A.py"),
        ("é.py", "e\u{301}.py"),
        ("d", "d/x"),
        ("d/x", "d"),
        ("D/x", "d/y"),
    ] {
        let zip = with_plugin(&[entry(first, b"1"), entry(second, b"2")]);
        assert!(matches!(refusal(zip), PackageError::Collision { .. }), "{first} {second}");
    }
}

#[test]
fn only_plain_files_are_let_in() {
    for mode in [0o120_777, 0o020_666, 0o060_666, 0o010_666, 0o140_777] {
        let special = Forged { mode, ..entry("link", b"/etc/passwd") };
        assert!(matches!(refusal(with_plugin(&[special])), PackageError::NotAFile { .. }), "{mode:o}");
    }
    for flags in [1, 1 << 6, 1 << 13] {
        let encrypted = Forged { flags, ..entry("a", b"x") };
        assert!(matches!(refusal(with_plugin(&[encrypted])), PackageError::Encrypted { .. }));
    }
    for method in [1, 9, 12, 14, 93, 95] {
        let strange = Forged { method: Some(method), ..entry("a", b"x") };
        assert!(matches!(refusal(with_plugin(&[strange])), PackageError::Unsupported { .. }));
    }
}

#[test]
fn archives_that_contradict_themselves_are_refused() {
    let forged = |more: Forged| {
        let error = refusal(with_plugin(&[more]));
        assert!(matches!(error, PackageError::Forged { .. } | PackageError::NotAZip { .. }), "{error:?}");
    };
    let text = vec![b'x'; 5000];
    let packed = Forged { deflated: true, ..entry("a", &text) };
    forged(Forged { size: Some(10), ..packed.clone() });
    forged(Forged { size: Some(50_000), ..packed.clone() });
    forged(Forged { crc32: Some(7), ..packed.clone() });
    forged(Forged { crc32: Some(7), ..entry("a", b"x") });
    forged(Forged { size: Some(3), ..entry("a", b"x") });
    forged(Forged { packed: Some(1 << 20), size: Some(1 << 20), ..entry("a", b"x") });
    forged(Forged { local_name: Some(b"b".to_vec()), ..entry("a", b"x") });
    forged(Forged { offset: Some(0), ..entry("a", b"x") });
    forged(Forged { offset: Some(3), ..entry("a", b"x") });
    forged(Forged { offset: Some(0x7fff_ffff), ..entry("a", b"x") });
    forged(Forged { deflated: false, method: Some(8), ..entry("a", b"\xff\xff\xff\xff") });
    forged(entry("a/", b"a folder with content"));
}

#[test]
fn overlapping_entries_are_refused() {
    // The second entry's header lies in the content of the first.
    let inner = forge(&[entry("b", &[b'y'; 100])]);
    let outer = entry("a", &inner);
    let at = 30 + 1;
    let zip = forge(&[outer, Forged { offset: Some(at), ..entry("b", &[b'y'; 100]) }]);
    assert!(matches!(refusal(zip), PackageError::NotAZip { why: "its entries overlap" }));
}

#[test]
fn archives_that_can_be_read_in_two_ways_are_refused() {
    let good = with_plugin(&[]);
    let not_a_zip = |zip: Vec<u8>| assert!(matches!(refusal(zip), PackageError::NotAZip { .. }));
    not_a_zip(Vec::new());
    not_a_zip(b"not a zip".to_vec());
    not_a_zip(good[..good.len() - 1].to_vec());
    not_a_zip([&good[..], b"x"].concat());
    not_a_zip([b"prefix", &good[..]].concat());
    // A whole archive in the comment of another.
    let mut nested = good.clone();
    let end = nested.len();
    nested[end - 2..].copy_from_slice(&(good.len() as u16).to_le_bytes());
    nested.extend(&good);
    not_a_zip(nested);
    let mut zip64 = good.clone();
    zip64[end - 12..end - 10].copy_from_slice(&[0xff, 0xff]);
    not_a_zip(zip64);
    let mut fewer = good.clone();
    fewer[end - 14..end - 12].copy_from_slice(&[1, 0]);
    fewer[end - 12..end - 10].copy_from_slice(&[1, 0]);
    not_a_zip(fewer);
    let mut more = good;
    more[end - 14..end - 12].copy_from_slice(&[9, 0]);
    more[end - 12..end - 10].copy_from_slice(&[9, 0]);
    not_a_zip(more);
}

#[test]
fn bombs_are_refused_by_what_they_claim_and_by_what_they_do() {
    let zeros = vec![0; 2 << 20];
    let bomb = Forged { deflated: true, ..entry("bomb", &zeros) };
    assert!(matches!(refusal(with_plugin(std::slice::from_ref(&bomb))), PackageError::Bomb { .. }));
    let liar = Forged { size: Some(100), ..bomb };
    assert!(matches!(refusal(with_plugin(&[liar])), PackageError::Forged { .. }));
    let claims: Vec<Forged> = (0..3)
        .map(|index| Forged {
            size: Some(100 << 20),
            packed: Some(1 << 20),
            method: Some(8),
            ..entry(&format!("f{index}"), b"x")
        })
        .collect();
    assert!(matches!(
        refusal(with_plugin(&claims)),
        PackageError::Forged { .. } | PackageError::UnpacksTooLarge { .. }
    ));
    let many: Vec<Forged> = (0..=ENTRIES_MAX).map(|index| entry(&format!("f{index}"), b"")).collect();
    assert!(matches!(refusal(forge(&many)), PackageError::TooManyEntries { .. }));
}

#[test]
fn a_large_file_that_compresses_well_can_still_be_packaged() {
    let zeros = "0".repeat(3 << 20);
    let folder = folder(&[("manifest.yaml", MANIFEST), ("executor.py", EXECUTOR), ("zeros", &zeros)]);
    let package = Package::load(folder.path()).unwrap();
    let again = Package::from_zip_bytes(Bytes::from(zip_of(&package))).unwrap();
    assert_eq!(again.digest, package.digest);
}

#[test]
fn links_may_not_leave_the_folder() {
    let outside = folder(&[("secret", "s")]);
    for target in [
        outside.path().join("secret").as_path(),
        Path::new("/etc/passwd"),
        Path::new("nowhere"),
        Path::new("data"),
    ] {
        let folder = plugin();
        symlink(target, folder.path().join("link")).unwrap();
        assert!(matches!(Package::load(folder.path()), Err(PackageError::NotAFile { .. })), "{target:?}");
    }
    let folder = plugin();
    symlink("data/words.txt", folder.path().join("words")).unwrap();
    assert_eq!(Package::load(folder.path()).unwrap().files.read("words", 10).unwrap().unwrap(), b"a b c\n");
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe"), 0o600.into()).unwrap();
    assert!(matches!(Package::load(folder.path()), Err(PackageError::NotAFile { .. })));
}

#[test]
fn the_manifest_must_be_one_and_in_the_root() {
    let error = Package::load(folder(&[("a.txt", "")]).path()).unwrap_err();
    assert_eq!((error.code(), matches!(error, PackageError::NoManifest { .. })), ("SG0502", true));
    let error = refusal(forge(&[entry("greet/manifest.yaml", MANIFEST.as_bytes())]));
    assert!(error.help().unwrap().contains("belongs in the root"), "{error:?}");
    let error = Package::load(folder(&[("manifest.yml", MANIFEST)]).path()).unwrap_err();
    assert!(error.help().unwrap().contains("`manifest.yml` is not one of the names"), "{error:?}");
    let two = folder(&[("manifest.yaml", MANIFEST), ("plugin.json", "{}")]);
    assert_eq!(Package::load(two.path()).unwrap_err().code(), "SG0503");
    let error = Package::load(Path::new("/nonexistent")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent"));
}

#[test]
fn mistakes_in_the_manifest_come_with_the_path_that_was_given() {
    let broken = folder(&[("manifest.yaml", "name: greet\n")]);
    let error = Package::load(broken.path()).unwrap_err();
    let diagnostics = error.diagnostics().unwrap();
    assert_eq!(diagnostics.file(), broken.path().join("manifest.yaml").display().to_string());
    assert_eq!(diagnostics.sorted().len(), 2, "version and executor.py");
    assert_eq!(error.code(), "SG0202");
}

#[test]
fn archives_of_other_tools_are_read() {
    // A writer that streams: sizes follow the content, and a comment ends the file.
    let mut writer = zip::ZipWriter::new_stream(Vec::new());
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, content) in [("manifest.yaml", MANIFEST), ("executor.py", EXECUTOR)] {
        writer.start_file(name, options).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.set_comment("made elsewhere").unwrap();
    let zip = writer.finish().unwrap().into_inner();
    let package = Package::from_zip_bytes(Bytes::from(zip)).unwrap();
    assert_eq!(package.files.names().count(), 2);
}

proptest::proptest! {
    #[test]
    fn no_damage_to_an_archive_makes_the_reader_panic(at: proptest::sample::Index, byte: u8, cut: proptest::sample::Index) {
        let mut zip = with_plugin(&[Forged { deflated: true, ..entry("data/a.txt", &[b'a'; 300]) }]);
        let index = at.index(zip.len());
        zip[index] = byte;
        let _ = Package::from_zip_bytes(Bytes::from(zip.clone()));
        zip.truncate(cut.index(zip.len()));
        let _ = Package::from_zip_bytes(Bytes::from(zip));
    }
}
