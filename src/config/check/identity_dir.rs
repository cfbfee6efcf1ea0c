//! The checks of the folders that hold identities.

use std::collections::HashSet;

use toml::Spanned;

use super::Check;
use crate::config::{
    IdentityDir,
    file::{self, Table},
    value::Name,
};

impl Check<'_> {
    /// Returns the folders; `names` holds the names that identities have already.
    pub(super) fn identity_dirs(
        &mut self,
        written: &[Spanned<Table<file::IdentityDir>>],
        names: &mut HashSet<String>,
    ) -> Vec<IdentityDir> {
        let numbered = (1..).zip(written);
        numbered
            .filter_map(|(number, dir)| self.identity_dir(number, dir, names))
            .collect()
    }

    /// Returns a folder, called as its last part is unless it says otherwise.
    fn identity_dir(
        &mut self,
        number: usize,
        written: &Spanned<Table<file::IdentityDir>>,
        names: &mut HashSet<String>,
    ) -> Option<IdentityDir> {
        let span = written.span();
        let Some(path) = &written.get_ref().path else {
            let message = "this `identity_dir` has no `path`";
            self.absent(Some(span), message);
            return None;
        };
        let path = self.path(path);
        let last = path.file_name().and_then(|it| it.to_str());
        let own = last.and_then(|it| it.parse().ok());
        let default = own.unwrap_or_else(|| Name(format!("identity_dir-{number}")));
        let (name, span) = match &written.get_ref().name {
            Some(name) => (name.get_ref().0.clone(), name.span()),
            None => (default, span),
        };
        if !names.insert(name.0.clone()) {
            let message = format!(
                "another identity or folder of identities is named `{}`",
                name.0
            );
            self.wrong(span, message);
        }
        Some(IdentityDir { name: name.0, path })
    }
}
