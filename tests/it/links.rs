//! Links between the documents of the repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The folder that holds the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a file is in Markdown.
fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "md")
}

/// Returns all documents below `folder`, without what is built, fetched or hidden.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            documents(&path, found);
        } else if is_document(&path) {
            found.push(path);
        }
    }
}

/// Returns the lines of a document that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence && !line.starts_with("    ")
    })
}

/// Returns the targets of the links in a line: what stands in `](...)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let rest = line.split("](").skip(1);
    rest.filter_map(|it| it.split_once(')').map(|(target, _)| target))
}

/// Returns the anchors that GitHub gives the headings of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let slug: String = heading
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'))
                .map(|it| if it == ' ' { '-' } else { it })
                .collect();
            let count = seen.entry(slug.clone()).or_insert(0);
            *count += 1;
            match *count {
                1 => slug,
                more => format!("{slug}-{}", more - 1),
            }
        })
        .collect()
}

/// Returns what is wrong with a link in `document`, if anything is.
fn fault(document: &Path, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = document.parent().unwrap().join(path);
    if !path.is_empty() && !file.exists() {
        return Some(format!("{}: {target} is not there", document.display()));
    }
    let has_anchor = || {
        if path.is_empty() {
            anchors(text).contains(anchor)
        } else {
            fs::read_to_string(&file).is_ok_and(|other| anchors(&other).contains(anchor))
        }
    };
    let is_good = anchor.is_empty() || has_anchor();
    (!is_good).then(|| format!("{}: {target} has no such heading", document.display()))
}

#[test]
fn every_link_between_documents_leads_to_a_file_and_heading_that_exist() {
    let mut found = Vec::new();
    documents(root(), &mut found);
    let mut faults = Vec::new();
    for document in &found {
        let text = fs::read_to_string(document).unwrap();
        let links = prose(&text).flat_map(targets);
        faults.extend(links.filter_map(|target| fault(document, &text, target)));
    }
    assert!(found.len() > 10, "{found:?}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_readme_links_every_document() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let linked: BTreeSet<&str> = prose(&readme).flat_map(targets).collect();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if is_document(&path) {
            let name = path.file_name().unwrap().to_string_lossy();
            assert!(
                linked.contains(format!("docs/{name}").as_str()),
                "README.md has no link to docs/{name}"
            );
        }
    }
}

#[test]
fn a_link_to_what_is_not_there_is_found() {
    let document = root().join("README.md");
    let text = "# A heading, `with` code\n# A heading, `with` code\n";
    for (target, is_good) in [
        ("docs/sessions.md", true),
        ("docs/sessions.md#unix-sockets", true),
        ("docs/", true),
        ("#a-heading-with-code-1", true),
        ("https://example.com/nothing", true),
        ("docs/nothing.md", false),
        ("docs/sessions.md#nothing", false),
        ("#a-heading-with-code-2", false),
    ] {
        let fault = fault(&document, text, target);
        assert_eq!(fault.is_none(), is_good, "{target}: {fault:?}");
    }
}
