use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn read(text: &str) -> Result<Option<Requirements>, RequirementsError> {
    Requirements::read(folder(&[(REQUIREMENTS, text)]).path())
}

fn entries(text: &str) -> Vec<Requirement> {
    read(text).unwrap().unwrap().entries
}

#[test]
fn what_asks_for_nothing_is_nothing() {
    for text in ["", "\n", "# none\n\n", "\u{feff}# none", "  \r\n#x\r\n", "-f wheels\n"] {
        assert_eq!(read(text).unwrap(), None, "{text:?}");
    }
    assert_eq!(Requirements::read(tempfile::tempdir().unwrap().path()).unwrap(), None);
}

#[test]
fn the_forms_of_pip_are_read() {
    let digest = "ab".repeat(32);
    let text = format!(
        "\u{feff}Typing_Extensions>=4 # a comment\r\nrequests[socks,Use_Chardet] == 2.31.0 ; python_version > \"3\"\r\n\
         a.b--c~=1.0,!=1.1\r\nx (>=1)\r\npinned==1.0 \\\r\n    --hash=sha256:{digest} \\\r\n    --hash sha256:{}\r\n\
         far @ https://user:secret@example.org/far-1.0-py3-none-any.whl#x ; os_name == 'posix'\r\nlast",
        digest.to_uppercase()
    );
    let entries = entries(&text);
    let shown: Vec<_> =
        entries.iter().map(|entry| (entry.name.as_str(), entry.pinned.as_deref(), entry.line)).collect();
    assert_eq!(
        shown,
        [
            ("typing-extensions", None, 1),
            ("requests", Some("2.31.0"), 2),
            ("a-b-c", None, 3),
            ("x", None, 4),
            ("pinned", Some("1.0"), 5),
            ("far", None, 8),
            ("last", None, 9),
        ]
    );
    assert!(entries[1].conditional && !entries[0].conditional && entries[5].conditional);
    assert_eq!(entries[4].sha256, [digest.clone(), digest]);
    assert!(entries[5].at_url && !entries[5].text.contains("secret"), "{}", entries[5].text);
}

#[test]
fn what_is_not_supported_is_named_with_its_line() {
    for (line, expected) in [
        ("-e .", "an editable install is not supported"),
        ("--editable=git+https://x/y", "an editable install is not supported"),
        ("git+https://example.org/x.git", "version control"),
        ("x @ git+ssh://git@example.org/x.git", "version control"),
        ("./pkg", "is a path"),
        ("/abs/pkg", "is a path"),
        ("file:///x.whl", "is a path"),
        ("x @ file:///x.whl", "is a path"),
        ("some/folder", "is a path"),
        ("x-1.0-py3-none-any.whl", "is a path"),
        ("https://example.org/x-1.0.tar.gz", "an address needs the name"),
        ("-r https://example.org/r.txt", "of an address is not supported"),
        ("-r ../outside.txt", "leaves the plugin's folder"),
        ("-r absent.txt", "cannot be read"),
        ("--find-links ./elsewhere", "of a folder is not supported"),
        ("--use-feature=x", "is not supported here"),
        ("x --global-option=a", "of a requirement is not supported"),
        ("x ==", "a version is missing"),
        ("x 1.0", "a version begins with"),
        ("x=1.0", "a version begins with"),
        ("-", "is not supported here"),
        ("_x", "begins and ends with"),
        ("x[a", "the extras do not end"),
        ("x;", "nothing after"),
        ("x --hash=md5:00", "are not safe"),
        ("x --hash=sha256:00", "is not a digest"),
        ("x\u{7}", "control character"),
    ] {
        let error = read(&format!("# first\n{line}\n")).unwrap_err();
        assert_eq!((error.file.as_str(), error.line), (REQUIREMENTS, Some(2)), "{line}: {error}");
        assert!(error.message.contains(expected), "{line}: {error}");
    }
    let error = read("x==1\n# y\nX==2\n").unwrap_err();
    assert_eq!(error.to_string(), "requirements.txt:3: `X==2` contradicts `x==1` in requirements.txt:1");
}

#[test]
fn credentials_stand_in_no_message() {
    for line in ["x==1 @ https://user:hunter2@h/x", "https://user:hunter2@h/x", "x @ https://u:hunter2@h/a b"]
    {
        let error = read(line).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn included_files_are_read_within_the_folder() {
    let files = [
        (REQUIREMENTS, "-r more/base.txt\n-c more/limits.txt\nx\n--index-url https://u:p@h/simple\n"),
        ("more/base.txt", "-r deeper.txt\ny==1\n"),
        ("more/deeper.txt", "z\n"),
        ("more/limits.txt", "z<2\n"),
    ];
    let requirements = Requirements::read(folder(&files).path()).unwrap().unwrap();
    let names: Vec<_> = requirements.entries.iter().map(|entry| (&*entry.name, &*entry.file)).collect();
    assert_eq!(names, [("z", "more/deeper.txt"), ("y", "more/base.txt"), ("x", REQUIREMENTS)]);
    assert_eq!(requirements.constraints, "z<2\n");
    assert_eq!(requirements.options, ["--index-url https://u:p@h/simple"]);
    assert_eq!(requirements.flat, "z\ny==1\nx\n--index-url https://u:p@h/simple\n");
    let circle = [(REQUIREMENTS, "-r a.txt"), ("a.txt", "-r requirements.txt")];
    assert!(Requirements::read(folder(&circle).path()).unwrap_err().to_string().contains("included twice"));
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.txt"), "x").unwrap();
    let linked = folder(&[(REQUIREMENTS, "-r link.txt")]);
    std::os::unix::fs::symlink(outside.path().join("secret.txt"), linked.path().join("link.txt")).unwrap();
    assert!(Requirements::read(linked.path()).unwrap_err().to_string().contains("leaves the plugin"));
}

#[test]
fn sizes_are_bounded() {
    let begun = std::time::Instant::now();
    assert!(read(&"x\n".repeat(5 << 20)).unwrap_err().message.contains("larger than"));
    let many: String = (0..=ENTRIES_MAX).map(|number| format!("x{number}\n")).collect();
    assert!(read(&many).unwrap_err().message.contains("more than 2000"));
    assert!(read(&format!("x[{}]", "a,".repeat(5000))).unwrap_err().message.contains("longer than"));
    assert!(begun.elapsed().as_secs() < 5);
    assert!(read("x\\\n").unwrap().is_some());
    let binary = folder(&[]);
    std::fs::write(binary.path().join(REQUIREMENTS), b"x\xff").unwrap();
    assert!(Requirements::read(binary.path()).unwrap_err().message.contains("not UTF-8"));
}

#[test]
fn a_lock_says_whether_it_still_answers() {
    let digest = "00".repeat(32);
    let requirements = read("Alpha==1.0\nbeta>=1; python_version<'3'\n").unwrap().unwrap();
    let lock = |text: &str| Lock::read(folder(&[(LOCK, text)]).path());
    let good = format!("{}alpha==1.0.0 --hash=sha256:{digest}\n", header(&requirements));
    assert_eq!(lock(&good).unwrap().unwrap().answers(&requirements), Ok(()));
    let by_hand = format!("alpha==1 \\\n  --hash=sha256:{digest}\n");
    assert_eq!(lock(&by_hand).unwrap().unwrap().answers(&requirements), Ok(()));
    for (text, why) in [
        (
            good.replace("# for requirements.txt sha256:", "# for requirements.txt sha256:0"),
            "has changed since",
        ),
        (good.replace("alpha", "omega"), "does not name `Alpha==1.0`"),
        (by_hand.replace("==1", "==1.0.1"), "it names `alpha==1.0.1` where `Alpha==1.0` is asked for"),
    ] {
        let error = lock(&text).unwrap().unwrap().answers(&requirements).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    for text in ["alpha==1.0\n".to_owned(), format!("alpha>=1 --hash=sha256:{digest}")] {
        assert_eq!(lock(&text).unwrap_err().line, Some(1));
    }
    // Popular packages have more than a hundred files.
    let many = format!(
        "alpha==1.0 \\\n{}    --hash=sha256:{digest}\n",
        format!("    --hash=sha256:{digest} \\\n").repeat(400)
    );
    assert_eq!(lock(&many).unwrap().unwrap().entries[0].sha256.len(), 401);
    assert_eq!(Lock::read(tempfile::tempdir().unwrap().path()).unwrap(), None);
}
