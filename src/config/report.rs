//! Problems with a configuration, drawn under the lines they are about.

use std::{fmt, io, ops::Range, path::PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// After so many problems the rest is only counted.
pub(super) const SHOWN_MAX: usize = 50;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path leads to something that is read differently from a file.
    #[error("cannot read the configuration file {}: it is a {what}, not a regular file", path.display())]
    NotAFile {
        /// What was taken for a file.
        path: PathBuf,
        /// What it is, such as `folder`.
        what: &'static str,
    },
    /// The file is too large to have been written for this.
    #[error("the configuration file {} is larger than {} KiB", path.display(), limit / 1024)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The file holds bytes that are no text.
    #[error("the configuration file {} is not UTF-8 text: see line {line}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line of the first byte that is no text, from 1.
        line: usize,
    },
    /// The file is one of a certificate or key, or holds one.
    #[error(
        "the configuration file {} holds PEM, at line {line}: it is the file of a certificate or \
         key and no configuration, or holds one where its path belongs", path.display()
    )]
    Pem {
        /// The file.
        path: PathBuf,
        /// The line where it begins, from 1.
        line: usize,
    },
    /// A path on the command line or of the configuration file cannot be shown as text.
    #[error("the path {} is not UTF-8 text", path.display())]
    PathNotText {
        /// The path.
        path: PathBuf,
    },
    /// A relative path was given where nothing says what it is relative to.
    #[error("cannot resolve {}: the current directory is unknown; give an absolute path", path.display())]
    NoCurrentDirectory {
        /// The relative path.
        path: PathBuf,
    },
    /// What was read is not a configuration.
    #[error(transparent)]
    Invalid(#[from] Report),
}

impl ConfigError {
    /// Returns one line for each problem, as it fits into a log or a status.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Invalid(report) => report.lines(),
            _ => vec![self.to_string()],
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong and what to do.
    pub message: String,
    /// The bytes of the file it is about; `None` for what is not in the file.
    pub span: Option<Range<usize>>,
}

/// All that is wrong with a configuration, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file, if there is one.
    path: Option<PathBuf>,
    text: String,
    /// Whether the text may be shown.
    is_ours: bool,
    problems: Vec<Problem>,
}

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl Report {
    /// Gathers `problems` of the file at `path` with this `text`, in the order of its lines.
    pub(super) fn new(path: Option<PathBuf>, text: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        Self {
            is_ours: is_ours(&text),
            path,
            text,
            problems,
        }
    }

    /// Returns a line for each problem: the file, where in it, and what is wrong.
    fn lines(&self) -> Vec<String> {
        let place = |problem: &Problem| {
            let path = self.path.as_ref()?.display();
            let before = self.text.get(..problem.span.as_ref()?.start)?;
            Some(format!("{path}:{}: ", before.matches('\n').count() + 1))
        };
        let line = |problem: &Problem| place(problem).unwrap_or_default() + &problem.message;
        self.problems.iter().map(line).collect()
    }

    /// Returns the problems in the order of the file's lines.
    #[cfg(test)]
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn render(&self) -> String {
        let renderer = Renderer::plain();
        let shown = self.problems.iter().take(SHOWN_MAX);
        let mut drawn: Vec<String> = shown.map(|problem| self.draw(&renderer, problem)).collect();
        if self.problems.len() > SHOWN_MAX {
            drawn.push(format!("and {} more", self.problems.len() - SHOWN_MAX));
        }
        drawn.join("\n\n")
    }

    fn draw(&self, renderer: &Renderer, problem: &Problem) -> String {
        let title = Level::ERROR.primary_title(problem.message.as_str());
        let path = self.path.as_ref().map(|path| path.display().to_string());
        let Some(span) = &problem.span else {
            let origin = path.map(Origin::path);
            return renderer.render(&[Group::with_title(title).elements(origin)]);
        };
        let line = self.line(span);
        if !self.is_ours {
            let origin = path.map(|path| line.place(path));
            return renderer.render(&[Group::with_title(title).elements(origin)]);
        }
        let marked = AnnotationKind::Primary.span(line.marked);
        let snippet = Snippet::source(line.text)
            .line_start(line.number)
            .path(path)
            .annotation(marked);
        renderer.render(&[title.element(snippet)])
    }

    /// Returns the line that `span` begins in.
    ///
    /// Later lines are left away: a caret under a line says more than a frame around a table. And
    /// the renderer, given the whole file, would go through all of it for each problem.
    fn line(&self, span: &Range<usize>) -> Line<'_> {
        let (before, after) = self
            .text
            .split_at_checked(span.start)
            .unwrap_or((&self.text, ""));
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let end = before.len() + after.find(['\r', '\n']).unwrap_or(after.len());
        Line {
            number: 1 + before.matches('\n').count(),
            text: &self.text[start..end],
            marked: before.len() - start..span.end.clamp(before.len(), end) - start,
        }
    }
}

/// Whether `text` has what every configuration needs: a line that begins with `listener`.
///
/// A file that was named by mistake may hold passwords, so its lines must not be shown.
fn is_ours(text: &str) -> bool {
    text.lines().any(|line| {
        line.trim_start_matches(['[', ' ', '\t'])
            .starts_with("listener")
    })
}

/// A line of the file with the part of it that something is wrong with.
struct Line<'a> {
    number: usize,
    text: &'a str,
    marked: Range<usize>,
}

impl Line<'_> {
    /// Returns where in the file at `path` something is wrong, without its text.
    fn place(&self, path: String) -> Origin<'static> {
        let before = &self.text[..self.marked.start];
        Origin::path(path)
            .line(self.number)
            .char_column(1 + before.chars().count())
    }
}
