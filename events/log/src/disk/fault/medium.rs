//! The bytes and names of the fault disk, twice: as the running system sees them, and as they are durable, with
//! the changes in between. A power cut applies any part of those.

use std::collections::BTreeMap;
use std::io;

use super::super::ROOT;

/// A small deterministic source of chance.
pub(super) struct Dice {
    state: u64,
    /// Share of the unsynced changes that survive, in percent.
    kept_percent: u64,
    sector: usize,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        const KEPT: [u64; 5] = [50, 10, 90, 30, 75];
        let mut dice = Self { state: seed, kept_percent: 0, sector: 512 };
        dice.kept_percent = match seed {
            0 => 0,
            1 => 100,
            _ => KEPT[dice.below(KEPT.len())],
        };
        dice.sector = if dice.below(3) == 0 { 4_096 } else { 512 };
        dice
    }

    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "below a usize")]
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn keeps(&mut self) -> bool {
        self.next() % 100 < self.kept_percent
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Len(usize),
}

/// A file's content.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    cached: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

impl Content {
    pub(super) fn cached(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        // The length is a change of its own: it can survive without the bytes, and they without it are nothing.
        if at + bytes.len() > self.cached.len() {
            self.set_len(at + bytes.len());
        }
        self.cached[at..][..bytes.len()].copy_from_slice(bytes);
        self.unsynced.push(Change::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.cached.resize(len, 0);
        self.unsynced.push(Change::Len(len));
    }

    /// Makes content and length durable (`fsync`).
    pub(super) fn sync_all(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { at, bytes } => overwrite(&mut self.durable, at, &bytes),
                Change::Len(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// Makes content durable, and of the length only what reading that content needs (`fdatasync`): a file may still be found
    /// as long as it was, or without what was reserved.
    pub(super) fn sync_data(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { at, bytes } => {
                    let end = (at + bytes.len()).max(self.durable.len());
                    self.durable.resize(end, 0);
                    overwrite(&mut self.durable, at, &bytes);
                }
                Change::Len(_) => self.unsynced.push(change),
            }
        }
    }

    /// A sync that failed: the system takes what was not written for written.
    pub(super) fn forget(&mut self) {
        self.unsynced.clear();
    }

    fn cut_power(&mut self, dice: &mut Dice, harms_neighbours: bool) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Len(len) if dice.keeps() => self.durable.resize(len, 0),
                Change::Len(_) => {}
                Change::Write { mut at, bytes } => {
                    let mut rest = bytes.as_slice();
                    while !rest.is_empty() {
                        let (piece, behind) = rest.split_at(rest.len().min(dice.sector - at % dice.sector));
                        if dice.keeps() {
                            overwrite(&mut self.durable, at, piece);
                        } else if harms_neighbours {
                            // What stands in the sector in front of the write goes with it.
                            let start = at - at % dice.sector;
                            overwrite(&mut self.durable, start, &vec![0; at - start]);
                        }
                        (at, rest) = (at + piece.len(), behind);
                    }
                }
            }
        }
        self.cached = self.durable.clone();
    }
}

/// Writes what lies within the length.
fn overwrite(image: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = image.get_mut(at..) {
        let len = place.len().min(bytes.len());
        place[..len].copy_from_slice(&bytes[..len]);
    }
}

/// The thing that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(usize),
    Folder,
}

#[derive(Clone, Debug)]
enum NameChange {
    Bind(String, Node),
    Unbind(String),
    Rename(String, String, Node),
}

#[derive(Clone, Debug, Default)]
struct Names {
    cached: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    unsynced: Vec<NameChange>,
}

impl Names {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.cached);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
    }

    fn cut_power(&mut self, dice: &mut Dice) {
        for change in std::mem::take(&mut self.unsynced) {
            if dice.keeps() {
                change.apply(&mut self.durable);
            }
        }
        self.cached = self.durable.clone();
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Bind(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Unbind(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// All files and folders.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    contents: Vec<Content>,
    root: Names,
    folders: BTreeMap<String, Names>,
}

impl Medium {
    pub(super) fn content(&self, file: usize) -> &Content {
        &self.contents[file]
    }

    pub(super) fn content_mut(&mut self, file: usize) -> &mut Content {
        &mut self.contents[file]
    }

    /// Puts a durable file there, in a durable folder.
    pub(super) fn put(&mut self, path: &str, bytes: &[u8]) {
        let (folder, name) = split(path);
        if folder != ROOT && !self.folders.contains_key(folder) {
            self.create_dir(folder);
            self.root.sync();
        }
        let content = Content { cached: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() };
        self.contents.push(content);
        let node = Node::File(self.contents.len() - 1);
        let names = self.names(folder).expect("made above");
        names.change(NameChange::Bind(name.to_owned(), node));
        names.sync();
    }

    /// Changes the content of a file that is there, durably.
    pub(super) fn overwrite(&mut self, path: &str, bytes: &[u8]) {
        if let Ok(Node::File(file)) = self.find(path) {
            let content = Content { cached: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() };
            self.contents[file] = content;
        }
    }

    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let folders = self.folders.iter().map(|(folder, names)| (format!("{folder}/"), names));
        std::iter::once((String::new(), &self.root))
            .chain(folders)
            .flat_map(|(folder, names)| {
                names.cached.iter().filter_map(move |(name, node)| match node {
                    Node::File(file) => Some((format!("{folder}{name}"), self.content(*file).cached.clone())),
                    Node::Folder => None,
                })
            })
            .collect()
    }

    /// The bytes that all files with a name hold.
    pub(super) fn used(&self) -> u64 {
        self.files().values().map(|content| content.len() as u64).sum()
    }

    pub(super) fn create_dir(&mut self, folder: &str) {
        if !self.root.cached.contains_key(folder) {
            self.root.change(NameChange::Bind(folder.to_owned(), Node::Folder));
            self.folders.insert(folder.to_owned(), Names::default());
        }
    }

    pub(super) fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let names = if folder == ROOT { Some(&self.root) } else { self.folders.get(folder) };
        Ok(names.ok_or(io::ErrorKind::NotFound)?.cached.keys().cloned().collect())
    }

    pub(super) fn find(&mut self, path: &str) -> io::Result<Node> {
        let (folder, name) = split(path);
        Ok(*self.names(folder)?.cached.get(name).ok_or(io::ErrorKind::NotFound)?)
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<usize> {
        let (folder, name) = split(path);
        let file = self.contents.len();
        let names = self.names(folder)?;
        if names.cached.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.change(NameChange::Bind(name.to_owned(), Node::File(file)));
        self.contents.push(Content::default());
        Ok(file)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let node = self.find(from)?;
        let ((folder, from), (to_folder, to)) = (split(from), split(to));
        assert_eq!(folder, to_folder, "the log renames within a folder");
        self.names(folder)?.change(NameChange::Rename(from.to_owned(), to.to_owned(), node));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.find(path)?;
        let (folder, name) = split(path);
        self.names(folder)?.change(NameChange::Unbind(name.to_owned()));
        Ok(())
    }

    pub(super) fn sync_names(&mut self, folder: &str) {
        if let Ok(names) = self.names(folder) {
            names.sync();
        }
    }

    pub(super) fn cut_power(&mut self, dice: &mut Dice, harms_neighbours: bool) {
        for content in &mut self.contents {
            content.cut_power(dice, harms_neighbours);
        }
        self.root.cut_power(dice);
        for names in self.folders.values_mut() {
            names.cut_power(dice);
        }
        // A folder without a name takes its files with it.
        self.folders.retain(|folder, _| self.root.cached.contains_key(folder));
    }

    fn names(&mut self, folder: &str) -> io::Result<&mut Names> {
        let names = if folder == ROOT { Some(&mut self.root) } else { self.folders.get_mut(folder) };
        names.ok_or(io::ErrorKind::NotFound.into())
    }
}

/// The folder and the name of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((ROOT, path))
}
