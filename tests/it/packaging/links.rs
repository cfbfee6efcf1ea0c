//! Links between the texts that a package or a tarball has.

use std::{fs, path::Path};

use super::Unpacked;

#[test]
fn every_link_of_an_installed_text_leads_to_a_file_of_the_package() {
    let Some(unpacked) = Unpacked::new() else {
        return;
    };
    let texts = ["usr/share/doc/proxyd", "usr/share/doc/proxyd/docs"].map(|it| unpacked.path(it));
    follow_all(&texts.each_ref().map(AsRef::as_ref));
    let readme = fs::read_to_string(texts[0].join("README.md")).unwrap();
    assert!(readme.contains("](docs/upgrades.md)"), "{readme}");
    let hook = "/usr/share/doc/proxyd/examples/certbot-deploy-hook";
    assert!(readme.contains(&format!(" {hook} ")), "{readme}");
    assert!(unpacked.path(hook.trim_start_matches('/')).exists());
}

/// Follows all links to files in the texts of some folders.
#[track_caller]
pub(super) fn follow_all(folders: &[&Path]) {
    let mut links = 0;
    for folder in folders {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "md") {
                links += follow(&path);
            }
        }
    }
    assert!(links > 20, "{links} links were found");
}

/// Follows all links of a text to files, and returns how many there are.
fn follow(text: &Path) -> usize {
    let written = fs::read_to_string(text).unwrap();
    let targets = written.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ', '#']).next()?;
        (!target.is_empty() && !target.contains("://")).then_some(target)
    });
    let mut count = 0;
    for target in targets {
        let path = text.with_file_name(target);
        assert!(path.exists(), "{} links to {target}", text.display());
        count += 1;
    }
    count
}
