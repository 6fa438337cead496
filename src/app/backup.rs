//! `backup` and `restore`: everything that a data folder keeps, as one file. With a live server it is asked; without
//! one this process owns the folder meanwhile.

use std::fs::{File, Permissions};
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use http::Method;
use serde_json::{Value, json};

use super::cli::{Backup, Global};
use super::connect::{Need, ServerFile, connect};
use super::failure::Failure;
use super::output::{self, Paint, Style, printable};
use super::target::{Remote, Target};
use crate::config::Settings;
use crate::host::restore_offline;
use crate::model::kind::ErrorKind;
use crate::store::{DataFolder, Summary, verify};

/// A backup holds what plugins were given and answered: it is for its owner only.
const FILE_MODE: u32 = 0o600;
const OWNER_WAIT: Duration = Duration::from_secs(10);

pub async fn backup(global: &Global, arguments: &Backup, settings: &Settings) -> Result<(), Failure> {
    let path = &arguments.file;
    if !arguments.force && path.symlink_metadata().is_ok() {
        let message = format!("{} is there already", path.display());
        return Err(Failure::of_kind(ErrorKind::Conflict, message).help("--force overwrites it"));
    }
    let target = connect(global, settings, Need::Host)?;
    let written = write(&target, path, arguments.force).await;
    target.finish().await;
    let (summary, bytes) = written?;
    if global.json {
        let mut document = document(&summary)?;
        document["file"] = path.display().to_string().into();
        document["bytes"] = bytes.into();
        return output::print_json(&document);
    }
    let shown = printable(&path.display().to_string());
    let text = format!(
        "{} {shown}  {}  {} plugin versions\nsecrets and tokens are not part of it\n",
        Style::stdout().paint(Paint::Good, "written"),
        output::bytes(bytes),
        output::count(summary.registrations),
    );
    output::print(&text)
}

/// Beside its place, read again, then renamed: whoever finds the file finds a good one.
async fn write(target: &Target, path: &Path, force: bool) -> Result<(Summary, u64), Failure> {
    let answer = target.send(Method::GET, "/v1/backup", None).await?;
    if !answer.status.is_success() {
        return Err(answer.json().await.err().unwrap_or_else(|| Failure::internal("no backup came")));
    }
    let failed =
        |error: std::io::Error| Failure::internal(format!("{} cannot be written: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".backup-")
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder)
        .map_err(failed)?;
    let mut body = answer.body;
    while let Some(part) = body.next().await {
        file.write_all(&part?).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let summary = verify(BufReader::new(file.as_file()))?;
    if force {
        file.persist(path).map_err(|error| failed(error.error))?;
    } else {
        file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok((summary, bytes))
}

pub async fn restore(global: &Global, arguments: &Backup, settings: &Settings) -> Result<(), Failure> {
    let path = &arguments.file;
    let open = || {
        File::open(path).map_err(|error| {
            let kind = if error.kind() == std::io::ErrorKind::NotFound {
                ErrorKind::NotFound
            } else {
                ErrorKind::Internal
            };
            Failure::of_kind(kind, format!("{} cannot be read: {error}", path.display()))
        })
    };
    // Here first: a bad file need not travel.
    verify(BufReader::new(open()?))?;
    let document = match server(global, settings) {
        Some(url) => {
            let token = settings.tokens.first().map(|token| token.reveal().to_owned());
            let remote = Remote::new(&url, token)?;
            if !global.json {
                output::note(&format!("target: {url}"));
            }
            remote.upload("/v1/restore", open()?).await?.json().await?
        }
        None => offline(settings.data_dir.clone(), open()?, arguments.force).await?,
    };
    if global.json {
        return output::print_json(&document);
    }
    let style = Style::stdout();
    let count =
        |member: &str| output::count(usize::try_from(document[member].as_u64().unwrap_or(0)).unwrap_or(0));
    output::print(&format!(
        "{} the state of {}: {} plugin versions\nsecrets and tokens are not part of a backup: they must be there\n",
        style.paint(Paint::Good, "restored"),
        printable(document["created_at"].as_str().unwrap_or_default()),
        count("registrations"),
    ))
}

fn server(global: &Global, settings: &Settings) -> Option<String> {
    if global.local {
        return None;
    }
    global.server.clone().or_else(|| ServerFile::live(&settings.data_dir).map(|server| server.url))
}

async fn offline(data_dir: PathBuf, file: File, force: bool) -> Result<Value, Failure> {
    output::note(&format!("target: {}", data_dir.display()));
    let restored = tokio::task::spawn_blocking(move || {
        let lock = DataFolder::acquire(&data_dir, OWNER_WAIT)?;
        let folder = lock.folder();
        if !force && (folder.registry().exists() || folder.ledger().exists()) {
            let message = format!("the data folder {} is not empty", data_dir.display());
            let help =
                "--force replaces its plugins and keeps what happened; --data-dir names another folder";
            return Err(Failure::of_kind(ErrorKind::Conflict, message).help(help));
        }
        document(&restore_offline(&lock, file)?)
    });
    restored.await.map_err(|_| Failure::internal("restoring panicked"))?
}

fn document(summary: &Summary) -> Result<Value, Failure> {
    let parts = serde_json::to_value(&summary.parts).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(json!({
        "created_at": summary.created_at,
        "spanglass": summary.spanglass,
        "registrations": summary.registrations,
        "parts": parts,
    }))
}
