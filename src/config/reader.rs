//! The reader of manifests, with what only the configuration has: paths, and problems that also flags and
//! variables can have.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use crate::model::units::UnitError;
use crate::package::diagnostic::{Diagnostics, Severity};
use crate::package::reader::{self, Dialect};

use super::paths;
use super::report::Problem;

pub use crate::package::reader::{Field, Section};

const DIALECT: Dialect = Dialect {
    free_below_top: false,
    plain_marks: &['_', '-'],
    size_help: UnitError::help,
    duration_help: UnitError::help,
    list_help: |text| {
        let fits = text.len() < 60 && !text.contains(char::is_control);
        fits.then(|| format!("write it as a list: [{text}]"))
    },
};

pub struct Reader<'a> {
    common: reader::Reader<'a>,
    /// Where relative paths begin: the file's folder.
    folder: &'a Path,
}

impl<'a> Reader<'a> {
    pub fn new(diagnostics: &'a mut Diagnostics, folder: &'a Path) -> Reader<'a> {
        Reader { common: reader::Reader { diagnostics, dialect: &DIALECT }, folder }
    }

    /// An error said of the field by name.
    pub fn refuse(&mut self, field: &Field<'_>, problem: Problem) {
        self.report(problem.about(&field.path, field.place(), Severity::Error));
    }

    /// A path, relative ones against the file's folder.
    pub fn path(&mut self, field: &Field<'_>) -> Option<PathBuf> {
        let text = self.verbatim(field)?;
        match paths::check(Path::new(text)) {
            Ok(path) => Some(paths::resolve(path, self.folder)),
            Err(problem) => {
                self.refuse(field, problem);
                None
            }
        }
    }
}

// Otherwise it is the reader of manifests; methods that only hand on would hide the two that it has of its own.
impl<'a> Deref for Reader<'a> {
    type Target = reader::Reader<'a>;

    fn deref(&self) -> &Self::Target {
        &self.common
    }
}

impl DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.common
    }
}
