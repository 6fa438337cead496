//! Writing a package: the same content gives the same bytes, whatever the times, permissions, order or place of
//! the files were.

use std::io::{self, Seek, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::super::error::PackageError;
use super::{Contents, Entry, PACKAGE_BYTES_MAX, RATIO_FROM_BYTES, RATIO_MAX};

/// Writes all files as a zip, sorted by name, dated 1980-01-01, with mode 0755 for programs and 0644 for the rest.
///
/// # Errors
/// A file changed since it was listed, the archive grows beyond [`PACKAGE_BYTES_MAX`], or writing failed.
pub fn write(contents: &Contents, out: impl Write + Seek) -> Result<(), PackageError> {
    let mut writer = ZipWriter::new(out);
    for entry in &contents.entries {
        let method = method_of(contents, entry)?;
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .last_modified_time(DateTime::default())
            .unix_permissions(entry.mode());
        writer.start_file(&*entry.name, options).map_err(unwritten)?;
        contents.copy_checked(entry, &mut writer)?;
    }
    let mut out = writer.finish().map_err(unwritten)?;
    let bytes = out.stream_position().map_err(|source| unwritten(source.into()))?;
    if bytes > PACKAGE_BYTES_MAX {
        return Err(PackageError::TooLarge { bytes, bytes_max: PACKAGE_BYTES_MAX });
    }
    out.flush().map_err(|source| unwritten(source.into()))
}

/// Deflated, but for what compresses so well that a reader would take it for a bomb.
fn method_of(contents: &Contents, entry: &Entry) -> Result<CompressionMethod, PackageError> {
    if entry.size <= RATIO_FROM_BYTES {
        return Ok(CompressionMethod::Deflated);
    }
    let mut packed = DeflateEncoder::new(Counter(0), Compression::default());
    contents.copy(entry, &mut packed)?;
    let packed = packed.finish().map_err(|source| unwritten(source.into()))?.0;
    // Some slack: the archive's own encoder need not reach exactly the same size.
    let bomb = entry.size > packed.saturating_mul(RATIO_MAX / 2);
    Ok(if bomb { CompressionMethod::Stored } else { CompressionMethod::Deflated })
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unwritten(error: zip::result::ZipError) -> PackageError {
    PackageError::NotWritable { what: "the package".to_owned(), source: error.into() }
}
