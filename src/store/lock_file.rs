//! `spanglass.lock`: text that is written whole or not at all. What it means is the registry's business.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::error::Error;
use super::folder::{DataFolder, create_file, sync_folder};

/// A larger file is none of ours.
const BYTES_MAX: u64 = 64 << 20;

impl DataFolder {
    pub fn lock_file(&self) -> PathBuf {
        self.path().join("spanglass.lock")
    }

    /// `None`: there is none yet.
    pub fn read_lock_file(&self) -> Result<Option<String>, Error> {
        let path = self.lock_file();
        match fs::metadata(&path) {
            Ok(file) if file.len() > BYTES_MAX => {
                return Err(Error::io("read", &path)(io::Error::other("it is too large")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        fs::read_to_string(&path).map(Some).map_err(Error::io("read", &path))
    }

    /// On the disk when it returns; a reader sees the old text or the new.
    pub fn write_lock_file(&self, text: &str) -> Result<(), Error> {
        let (path, new) = (self.lock_file(), self.path().join(".spanglass.lock.new"));
        let _ = fs::remove_file(&new);
        let mut file = create_file(&new)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::io("write", &new))?;
        fs::rename(&new, &path).map_err(Error::io("rename", &new))?;
        sync_folder(self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_back_and_replaces_the_old() {
        let temp = tempfile::tempdir().unwrap();
        let folder = DataFolder::new(temp.path());
        assert_eq!(folder.read_lock_file().unwrap(), None);
        for text in ["one, and it is longer", "two"] {
            folder.write_lock_file(text).unwrap();
            assert_eq!(folder.read_lock_file().unwrap().as_deref(), Some(text));
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
