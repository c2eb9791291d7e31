//! Reads Rust and SQL just well enough for the rules in `tidy.rs`: no parser, only what tells code from text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// A Rust file. `code` is `text` with comments, strings and characters blanked out, line for line.
pub struct Source {
    pub path: String,
    pub text: String,
    pub code: String,
    pub strings: Vec<Literal>,
}

pub struct Literal {
    pub line: usize,
    pub text: String,
}

pub struct Function {
    pub name: String,
    pub lines: usize,
    pub public: bool,
    /// From the name to the body.
    pub signature: String,
}

/// Table → columns.
pub type Schema = BTreeMap<String, BTreeSet<String>>;

/// The files below `root/folder` whose names end in `suffix`, by path from `root`. No folder: no files.
pub fn files(root: &Path, folder: &str, suffix: &str) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(next) = folders.pop() {
        if !next.is_dir() {
            continue;
        }
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    found.sort();
    Ok(found)
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut code = String::with_capacity(text.len());
        let mut strings = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let (kind, end) = piece(&chars, at);
            let taken = chars.get(at..end).unwrap_or_default();
            if let Kind::Text = kind {
                strings.push(Literal { line: line_at(&code, code.len()), text: taken.iter().collect() });
            }
            match kind {
                Kind::Code => code.extend(taken),
                Kind::Text | Kind::Remark => code.extend(taken.iter().map(|&c| if c == '\n' { '\n' } else { ' ' })),
            }
            at = end;
        }
        Self { path: path.to_owned(), text: text.to_owned(), code, strings }
    }

    /// `password_reset` of `crates/engine/src/store/password_reset.rs`.
    pub fn stem(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.contains("/contract/") || self.path.ends_with("/tests.rs")
    }

    pub fn functions(&self) -> Vec<Function> {
        words(&self.code).into_iter().filter(|&(_, word)| word == "fn").filter_map(|(at, _)| function(&self.code, at)).collect()
    }

    /// Every path that the code spells, with the trees of its `use` statements written out: `(line, "crate::store::Db")`.
    pub fn paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, word) in words(&self.code) {
            let line = line_at(&self.code, at);
            let rest = self.code.get(at..).unwrap_or_default();
            if word == "use" {
                let tree = rest.get(3..).and_then(|tree| tree.split(';').next()).unwrap_or_default();
                let tree: String = tree.replace(" as ", "@").chars().filter(|c| !c.is_whitespace()).collect();
                let mut spelled = Vec::new();
                expand(&tree, "", &mut spelled);
                found.extend(spelled.into_iter().map(|path| (line, path)));
            } else if !self.code.get(..at).unwrap_or_default().ends_with("::") {
                let end = rest.find(|c: char| !is_word(c) && c != ':').unwrap_or(rest.len());
                let path = rest.get(..end).unwrap_or_default();
                if path.contains("::") {
                    found.push((line, path.to_owned()));
                }
            }
        }
        found
    }

    /// The line after which only unit tests stand.
    pub fn first_test_line(&self) -> usize {
        self.code.find("#[cfg(test)]").map_or(usize::MAX, |at| line_at(&self.code, at))
    }
}

enum Kind {
    Code,
    Text,
    Remark,
}

/// What stands at `at`, and where it ends.
fn piece(chars: &[char], at: usize) -> (Kind, usize) {
    let get = |i: usize| chars.get(i).copied().unwrap_or('\0');
    match (get(at), get(at + 1)) {
        ('/', '/') => (Kind::Remark, (at..chars.len()).find(|&i| get(i) == '\n').unwrap_or(chars.len())),
        ('/', '*') => (Kind::Remark, block_comment_end(chars, at)),
        ('"', _) => (Kind::Text, quoted_end(chars, at, '"')),
        ('\'', '\\') => (Kind::Remark, quoted_end(chars, at, '\'')),
        ('\'', _) if get(at + 2) == '\'' => (Kind::Remark, at + 3),
        ('r', '"' | '#') if at == 0 || !is_word(get(at - 1)) || matches!(get(at - 1), 'b' | 'c') => {
            let hashes = (at + 1..chars.len()).take_while(|&i| get(i) == '#').count();
            if get(at + 1 + hashes) == '"' { (Kind::Text, raw_end(chars, at + 2 + hashes, hashes)) } else { (Kind::Code, at + 1) }
        }
        _ => (Kind::Code, at + 1),
    }
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < chars.len() {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('/'), Some('*')) => depth += 1,
            (Some('*'), Some('/')) => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while let Some(&c) = chars.get(at) {
        if c == quote {
            return at + 1;
        }
        at += if c == '\\' { 2 } else { 1 };
    }
    chars.len()
}

fn raw_end(chars: &[char], start: usize, hashes: usize) -> usize {
    let closes = |at: usize| chars.get(at) == Some(&'"') && (1..=hashes).all(|i| chars.get(at + i) == Some(&'#'));
    (start..chars.len()).find(|&at| closes(at)).map_or(chars.len(), |at| at + 1 + hashes)
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every word and where it starts.
pub fn words(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_word(c), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                found.push((from, text.get(from..at).unwrap_or_default()));
                start = None;
            }
            _ => {}
        }
    }
    found
}

pub fn names(text: &str, word: &str) -> bool {
    words(text).iter().any(|&(_, found)| found == word)
}

pub fn line_at(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// Where the bracket that opens at `open` closes.
pub fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code.get(open..)?.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return Some(open + at);
        }
    }
    None
}

/// The function whose `fn` stands at `at`; none for the type `fn(…)` and for a signature without a body.
fn function(code: &str, at: usize) -> Option<Function> {
    let rest = code.get(at + 2..)?;
    let name: String = rest.trim_start().chars().take_while(|&c| is_word(c)).collect();
    if name.is_empty() {
        return None;
    }
    let mut depth = 0_usize;
    let body = rest.char_indices().find_map(|(i, c)| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' | ';' if depth == 0 => return Some((at + 2 + i, c)),
            _ => {}
        }
        None
    });
    let (open, '{') = body? else { return None };
    let line = line_at(code, at);
    let before = code.get(..at)?.rsplit(['{', '}', ';', ']']).next().unwrap_or_default();
    Some(Function {
        name,
        lines: line_at(code, closing(code, open)?) + 1 - line,
        public: names(before, "pub"),
        signature: code.get(at..open)?.to_owned(),
    })
}

/// Writes a `use` tree out: `a::{b, c::*}` → `a::b`, `a::c::*`.
fn expand(tree: &str, prefix: &str, out: &mut Vec<String>) {
    for branch in split_outside_brackets(tree) {
        match branch.split_once('{') {
            Some((head, inner)) => expand(inner.strip_suffix('}').unwrap_or(inner), &format!("{prefix}{head}"), out),
            None => out.push(format!("{prefix}{}", branch.split('@').next().unwrap_or_default())),
        }
    }
}

/// Splits at the commas that stand in no bracket; empty parts are left out.
pub fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The statements of a migration: without comments and string values, white space made single.
pub fn sql_statements(sql: &str) -> Vec<String> {
    let plain: String = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let unquoted: String = plain.split('\'').step_by(2).collect::<Vec<_>>().join("''").replace('"', "");
    unquoted.split(';').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|part| !part.is_empty()).collect()
}

/// The schema after all `migrations`, in their order.
pub fn schema(migrations: &[(String, String)]) -> Schema {
    let mut tables = Schema::new();
    for statement in migrations.iter().flat_map(|(_, sql)| sql_statements(sql)) {
        let spaced = statement.replacen('(', " (", 1);
        let parts: Vec<&str> = spaced.split_whitespace().filter(|word| !matches!(*word, "IF" | "NOT" | "EXISTS" | "ONLY")).collect();
        match parts.as_slice() {
            ["CREATE", "TABLE", table, ..] => _ = tables.insert((*table).to_owned(), columns(&statement)),
            ["DROP", "TABLE", table, ..] => _ = tables.remove(*table),
            ["ALTER", "TABLE", table, "RENAME", "TO", name] => {
                let columns = tables.remove(*table).unwrap_or_default();
                tables.insert((*name).to_owned(), columns);
            }
            ["ALTER", "TABLE", table, "ADD", "COLUMN", column, ..] => {
                tables.entry((*table).to_owned()).or_default().insert((*column).to_owned());
            }
            ["ALTER", "TABLE", table, "DROP", "COLUMN", column, ..] => {
                tables.entry((*table).to_owned()).or_default().remove(*column);
            }
            _ => {}
        }
    }
    tables
}

/// What stands between the first bracket of a statement and its partner.
pub fn bracketed(statement: &str) -> &str {
    let Some(open) = statement.find('(') else { return "" };
    let end = closing(statement, open).unwrap_or(statement.len());
    statement.get(open + 1..end).unwrap_or_default()
}

fn columns(statement: &str) -> BTreeSet<String> {
    let first_words = split_outside_brackets(bracketed(statement)).into_iter().filter_map(|part| words(part).first().map(|&(_, word)| word));
    first_words.filter(|word| !matches!(*word, "PRIMARY" | "UNIQUE" | "FOREIGN" | "CHECK" | "CONSTRAINT" | "EXCLUDE")).map(str::to_owned).collect()
}
