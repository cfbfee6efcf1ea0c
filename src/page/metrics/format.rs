//! The two text formats of metrics, and which of them a client reads.

use std::fmt::Write as _;

use hyper::header::HeaderValue;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::page) enum Format {
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4, which every scraper and `promtool check metrics` reads.
    Classic,
}

impl Format {
    /// Returns the value of `Content-Type`.
    pub(in crate::page) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Returns `OpenMetrics` text in this format.
    pub(super) fn of_open_metrics(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Classic => classic(&text),
        }
    }
}

/// Returns the format for a client by the values of its `Accept` (RFC 9110, section 12.5.1): `OpenMetrics` if the client
/// reads that and does not prefer plain text.
pub(in crate::page) fn chosen<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>) -> Format {
    let values = accept.into_iter().filter_map(|it| it.to_str().ok());
    let (mut open_metrics, mut plain) = (0.0, 0.0);
    for range in values.flat_map(|it| it.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let parameter = |name: &str| {
            let mut all = parts.clone().filter_map(|it| it.split_once('='));
            let found = all.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().trim_matches('"'))
        };
        let weight = parameter("q").map_or(1.0, |it| it.parse().unwrap_or(0.0));
        let version = parameter("version");
        if kind.eq_ignore_ascii_case("application/openmetrics-text")
            && version.is_none_or(|it| it == "1.0.0")
        {
            open_metrics = f64::max(weight, open_metrics);
        } else if kind.eq_ignore_ascii_case("text/plain") {
            plain = f64::max(weight, plain);
        }
    }
    if open_metrics > 0.0 && open_metrics >= plain {
        Format::OpenMetrics
    } else {
        Format::Classic
    }
}

/// Makes the text format of Prometheus of `OpenMetrics` text: a counter's comments name it with `_total`, as its samples do,
/// and neither units nor the end are told.
fn classic(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, text] => help = Some((name, text)),
            ["#", "TYPE", name, kind] => {
                let total = if kind == "counter" { "_total" } else { "" };
                // Writing to a string does not fail.
                if let Some((_, help)) = help.take_if(|(of, _)| *of == name) {
                    let _ = writeln!(classic, "# HELP {name}{total} {help}");
                }
                let _ = writeln!(classic, "# TYPE {name}{total} {kind}");
            }
            ["#", ..] => {}
            _ => {
                classic.push_str(line);
                classic.push('\n');
            }
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &[&'static str]) -> Format {
        let values: Vec<_> = accept
            .iter()
            .map(|it| HeaderValue::from_static(it))
            .collect();
        chosen(&values)
    }

    #[test]
    fn a_client_gets_open_metrics_if_it_reads_that_and_prefers_nothing_else() {
        for accept in [
            // Prometheus 2.42 and 3.1.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"",
            "text/plain, application/openmetrics-text",
        ] {
            assert_eq!(of(&[accept]), Format::OpenMetrics, "{accept}");
        }
        let two = ["text/plain;q=0.5", "application/openmetrics-text;q=0.9"];
        assert_eq!(of(&two), Format::OpenMetrics);
    }

    #[test]
    fn every_other_client_gets_the_format_that_all_read() {
        for accept in [
            "*/*",
            "",
            "text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=none",
            "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5",
            ";;,=,;q",
        ] {
            assert_eq!(of(&[accept]), Format::Classic, "{accept}");
        }
        assert_eq!(of(&[]), Format::Classic);
    }

    #[test]
    fn counters_are_named_with_total_and_the_end_is_not_told() {
        let open = "# HELP a Help.\n# TYPE a counter\na_total 1\n# HELP b_seconds Of b: a # b.\n# TYPE b_seconds gauge\n\
                    # UNIT b_seconds seconds\nb_seconds{l=\"# x\"} 2.0\n# EOF\n";
        let expected = "# HELP a_total Help.\n# TYPE a_total counter\na_total 1\n# HELP b_seconds Of b: a # b.\n\
                        # TYPE b_seconds gauge\nb_seconds{l=\"# x\"} 2.0\n";
        assert_eq!(classic(open), expected);
    }
}
