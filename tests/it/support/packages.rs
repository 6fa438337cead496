//! Packages as bytes, the good and the bad ones.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The zip of a Python plugin; `rest` is YAML below name and version.
pub fn zip_of(name: &str, version: &str, rest: &str, source: &str) -> Vec<u8> {
    let manifest = format!("name: {name}\nversion: {version}\nruntime: python\n{rest}\n");
    zip_files(&[("manifest.yaml", manifest.as_bytes()), ("executor.py", source.as_bytes())])
}

/// A zip with these entries, whatever their names.
pub fn zip_files(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
