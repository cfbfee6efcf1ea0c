//! Identities found by name, cheaply where they are asked for in their own order.

use std::{collections::HashMap, sync::Arc};

use crate::tls::material::{Identity, Material};

/// Finds identities of a material by name.
///
/// Two materials of one configuration hold almost the same names in the same order, so the next one
/// is mostly the one that is asked for. An index of thousands is made only for those that are not.
pub(super) struct Lookup<'m> {
    list: &'m [Arc<Identity>],
    next: usize,
    index: Option<HashMap<&'m str, &'m Arc<Identity>>>,
    material: Option<&'m Material>,
}

impl<'m> Lookup<'m> {
    pub(super) fn of(material: Option<&'m Material>) -> Self {
        Self {
            list: material.map_or(&[], |it| &it.identities),
            next: 0,
            index: None,
            material,
        }
    }

    /// Returns the identity of that name.
    pub(super) fn find(&mut self, name: &str) -> Option<&'m Arc<Identity>> {
        if let Some(it) = self.list.get(self.next).filter(|it| it.name == name) {
            self.next += 1;
            return Some(it);
        }
        let index = self
            .index
            .get_or_insert_with(|| self.material.map(Material::index).unwrap_or_default());
        let found = index.get(name).copied()?;
        let at = self.list.iter().skip(self.next);
        let near = at.take(NEAR).position(|it| Arc::ptr_eq(it, found));
        self.next += near.map_or(0, |near| near + 1);
        Some(found)
    }
}

/// Identities that are passed over at once where the order goes on.
const NEAR: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{Ca, identity};

    #[test]
    fn each_is_found_in_whatever_order_they_are_asked_for() {
        let leaf = Ca::new("root").server(&["db.example.com"]);
        let names = ["a", "b", "c", "d"];
        let material = Material {
            identities: names.map(|name| Arc::new(identity(name, &leaf))).to_vec(),
            listeners: Vec::new(),
            system_roots: Vec::new(),
        };
        for order in [
            ["a", "b", "c", "d"],
            ["d", "x", "a", "b"],
            ["a", "c", "d", "b"],
        ] {
            let mut lookup = Lookup::of(Some(&material));
            for name in order {
                let found = lookup.find(name).map(|it| it.name.as_str());
                assert_eq!(found, Some(name).filter(|it| names.contains(it)));
            }
        }
        assert!(Lookup::of(None).find("a").is_none());
    }
}
