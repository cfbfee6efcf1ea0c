//! Which of its issuer's certificates a list is about: the issuing distribution point
//! (RFC 5280 §5.2.5).

use x509_parser::{
    certificate::X509Certificate,
    extensions::{
        CRLDistributionPoint, DistributionPointName, GeneralName, IssuingDistributionPoint,
        ParsedExtension,
    },
};

/// Which certificates a list is about; without any limit, all of its issuer.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    holders: Holders,
    only_some_reasons: bool,
    points: Option<Vec<String>>,
    der: Vec<u8>,
}

/// Whose certificates it is about.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Holders {
    #[default]
    All,
    Users,
    Authorities,
    /// Attribute certificates (RFC 5755), which nobody shows in TLS.
    Attributes,
}

impl Scope {
    pub(super) fn new(point: &IssuingDistributionPoint<'_>, der: &[u8]) -> Self {
        let holders = if point.only_contains_attribute_certs {
            Holders::Attributes
        } else if point.only_contains_user_certs {
            Holders::Users
        } else if point.only_contains_ca_certs {
            Holders::Authorities
        } else {
            Holders::All
        };
        Self {
            holders,
            only_some_reasons: point.only_some_reasons.is_some(),
            points: point.distribution_point.as_ref().map(names),
            der: der.to_vec(),
        }
    }

    /// Returns whether a list with this scope tells for itself whether a certificate is revoked.
    pub(crate) fn covers(&self, certificate: &X509Certificate<'_>) -> bool {
        let is_of_holder = match self.holders {
            Holders::All => true,
            Holders::Users => !certificate.is_ca(),
            Holders::Authorities => certificate.is_ca(),
            Holders::Attributes => false,
        };
        let is_at_point = || match &self.points {
            None => true,
            Some(points) => points_of(certificate).any(|it| points.contains(&it)),
        };
        is_of_holder && !self.only_some_reasons && is_at_point()
    }

    /// Returns whether it covers every certificate.
    pub(crate) fn is_everything(&self) -> bool {
        self.holders == Holders::All && !self.only_some_reasons && self.points.is_none()
    }

    /// Returns it as the list writes it; two lists with the same replace each other.
    pub(crate) fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// Says for people what it leaves out; `None` if nothing.
    pub(crate) fn limits(&self) -> Option<String> {
        let holders = match self.holders {
            Holders::All => None,
            Holders::Users => Some("certificates that are no authority's".to_owned()),
            Holders::Authorities => Some("certificates of authorities".to_owned()),
            Holders::Attributes => Some("attribute certificates".to_owned()),
        };
        let reasons = self
            .only_some_reasons
            .then(|| "some reasons of revocation".to_owned());
        let points = self.points.as_ref().map(|points| {
            format!(
                "certificates that name the distribution point {}",
                points.join(" or ")
            )
        });
        let limits: Vec<_> = [holders, reasons, points].into_iter().flatten().collect();
        (!limits.is_empty()).then(|| limits.join(", and only "))
    }
}

/// Returns the distribution points that a certificate names for all reasons (RFC 5280 §4.2.1.13).
fn points_of(certificate: &X509Certificate<'_>) -> impl Iterator<Item = String> {
    let points = certificate
        .extensions()
        .iter()
        .filter_map(|it| match it.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => Some(points.iter()),
            _ => None,
        })
        .flatten();
    let full = |it: &&CRLDistributionPoint<'_>| it.reasons.is_none();
    let names: Vec<_> = points
        .filter(full)
        .filter_map(|it| it.distribution_point.as_ref())
        .flat_map(names)
        .collect();
    names.into_iter()
}

/// Returns the names of a distribution point in a form to compare and to print. One that is
/// relative to the issuer has none, so that it is never the same as another.
fn names(point: &DistributionPointName<'_>) -> Vec<String> {
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        GeneralName::DirectoryName(name) => name.to_string(),
        other => format!("{other:?}"),
    };
    match point {
        DistributionPointName::FullName(names) => names.iter().map(name).collect(),
        DistributionPointName::NameRelativeToCRLIssuer(_) => Vec::new(),
    }
}
