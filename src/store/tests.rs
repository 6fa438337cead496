//! What a kill -9 may not take.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait on plain threads of their own, each wait within a bound"
)]

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use super::testing::{TestChild, child_folder, say};
use super::*;

const FILES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(10);

fn digest_of(number: usize) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Digest::from_sha256(bytes)
}

fn put(store: &Store, number: usize) -> StoredPackage {
    let unpack = |folder: &Path| {
        fs::create_dir(folder.join("deep"))?;
        (0..FILES).try_for_each(|n| fs::write(folder.join("deep").join(n.to_string()), number.to_string()))
    };
    store.put_package(&digest_of(number), ZipSource::Bytes(number.to_string().as_bytes()), unpack).unwrap()
}

fn is_whole(package: &StoredPackage) -> bool {
    let text = fs::read_to_string(&package.zip).unwrap();
    (0..FILES)
        .all(|n| fs::read_to_string(package.folder.join("deep").join(n.to_string())).is_ok_and(|t| t == text))
}

fn registering<'a>(
    name: &'a PluginName,
    version: &'a Version,
    digest: &'a Digest,
    manifest: &'a str,
) -> Registering<'a> {
    Registering { name, version, digest, manifest, origin: None, held_back: false }
}

/// Registers one version after another and says each that was acknowledged.
#[test]
fn child_that_registers() {
    let Some(folder) = child_folder() else { return };
    let store = Store::open(folder, PATIENCE).unwrap();
    let name = PluginName::parse("echo").unwrap();
    let first = store.packages().unwrap().len();
    for number in first.. {
        put(&store, number);
        let version = Version::new(0, 0, number as u64);
        store.register(&registering(&name, &version, &digest_of(number), "{}")).unwrap();
        say(format_args!("{number}"));
        if number % 3 == 0 {
            store.set_enabled(&name, &version, false, None).unwrap();
            say(format_args!("disabled {number}"));
        }
    }
}

#[test]
fn an_acknowledged_registration_survives_a_kill_at_any_moment() {
    let temp = tempfile::tempdir().unwrap();
    let name = PluginName::parse("echo").unwrap();
    let mut acknowledged: HashSet<String> = HashSet::new();
    for _ in 0..12 {
        let mut child = TestChild::start("store::tests::child_that_registers", temp.path());
        acknowledged.extend(child.hear());
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..60_000)));
        acknowledged.extend(child.kill());

        let store = Store::open(temp.path(), PATIENCE).unwrap();
        for said in &acknowledged {
            let (number, disabled) = match said.strip_prefix("disabled ") {
                Some(number) => (number, true),
                None => (said.as_str(), false),
            };
            let version = Version::new(0, 0, number.parse().unwrap());
            let registration = store.registration(&name, &version).unwrap();
            let registration = registration.unwrap_or_else(|| panic!("{said} was acknowledged and is lost"));
            assert!(!disabled || !registration.enabled, "{said}");
            assert!(is_whole(&store.package(&registration.digest).unwrap()), "{said}");
        }
        for package in store.packages().unwrap() {
            assert!(is_whole(&package), "{package:?}");
        }
        let names = fs::read_dir(store.folder().packages()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(
            names.into_iter().all(|name| !name.to_string_lossy().starts_with('.')),
            "something is half-done"
        );
        let check = check(store.folder());
        assert!(check.registry.problems.is_empty() && check.missing_packages.is_empty(), "{check:?}");
    }
    assert!(acknowledged.len() > 12);
}

#[test]
fn handles_go_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Store>();
    shared::<Ledger>();
    shared::<Reader>();
    shared::<Error>();
}

#[test]
fn a_registration_needs_its_package_and_keeps_it() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path(), PATIENCE).unwrap();
    let (name, version) = (PluginName::parse("echo").unwrap(), Version::new(1, 0, 0));
    let missing = store.register(&registering(&name, &version, &digest_of(1), "{}"));
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    put(&store, 1);
    put(&store, 2);
    store.register(&registering(&name, &version, &digest_of(1), "{}")).unwrap();
    assert!(store.remove_unreferenced_packages(&[digest_of(2)], Duration::ZERO).unwrap().is_empty());
    assert_eq!(store.remove_unreferenced_packages(&[], Duration::ZERO).unwrap(), [digest_of(2)]);
    store.remove_registration(&name, &version, None).unwrap();
    assert_eq!(store.remove_unreferenced_packages(&[], Duration::ZERO).unwrap(), [digest_of(1)]);
}

#[test]
fn a_damaged_registry_is_said_and_not_replaced() {
    let temp = tempfile::tempdir().unwrap();
    drop(Store::open(temp.path(), PATIENCE).unwrap());
    let folder = DataFolder::new(temp.path());
    fs::write(folder.registry(), vec![0x5a; 16384]).unwrap();
    assert!(matches!(Store::open(temp.path(), PATIENCE), Err(Error::Corrupt { .. })));
    assert_eq!(check(&folder).registry.problems.len(), 1);
    assert_eq!(fs::read(folder.registry()).unwrap().len(), 16384);
}

#[test]
fn damaged_values_are_said_and_not_replaced() {
    let temp = tempfile::tempdir().unwrap();
    drop(Store::open(temp.path(), PATIENCE).unwrap());
    let folder = DataFolder::new(temp.path());
    assert!(check(&folder).kv.problems.is_empty());
    fs::write(folder.kv(), vec![0x5a; 16384]).unwrap();
    assert!(matches!(Store::open(temp.path(), PATIENCE), Err(Error::Corrupt { .. })));
    assert_eq!(check(&folder).kv.problems.len(), 1);
}

#[test]
fn a_full_disk_refuses_a_registration_and_keeps_the_others() {
    let Some(disk) = super::testing::TinyDisk::mount(512) else { return };
    let store = Store::open(disk.path(), PATIENCE).unwrap();
    let (name, digest) = (PluginName::parse("echo").unwrap(), put(&store, 1).digest);
    store.register(&registering(&name, &Version::new(0, 0, 0), &digest, "{}")).unwrap();
    let manifest = format!("\"{}\"", "x".repeat(20_000));
    let mut registered = 0;
    let error = loop {
        match store.register(&registering(&name, &Version::new(1, 0, registered), &digest, &manifest)) {
            Ok(_) => registered += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert_eq!(store.registrations().unwrap().len() as u64, registered + 1);
    let put = store.put_package(&digest_of(9), ZipSource::Bytes(&[0; 600_000]), |_| Ok::<_, ()>(()));
    assert!(matches!(put, Err(PutError::Store(Error::DiskFull { .. }))), "{put:?}");
    assert_eq!(store.packages().unwrap().len(), 1);
}
