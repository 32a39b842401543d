"""Reconstructs what would be on the disk if the machine had lost power, from the record that
test/lib/preload/recording_disk.c made.

    disk = Disk.of_folder(folder)                     # before the process starts
    for record in records_of(path):                   # afterwards
        disk.apply(record)
    disk.write_to(another_folder, "pages", rng)       # what is left, had the power gone here

A disk promises the bytes of a file as they were at its last fsync or fdatasync, and the names in a directory as they
were at its last fsync. Of later changes anything may be left:

    nothing   none of it
    names     all names, no bytes: files that were never synced are empty
    pages     any 4 KiB pages, some names
    torn      the bytes in order, up to one of them; some names

Names in one directory change in order, as on all file systems with a journal. RocksDB relies on that: its file CURRENT
exists only if the MANIFEST exists that it names.
"""
import collections
import os
import pathlib
import struct

PAGE_BYTES = 4096
HEAD = struct.Struct("<IIQQQ")
FATES = ("nothing", "names", "pages", "torn")

# path: of a folder's entry; inode, at, size, data: as in recording_disk.c. end: of the record, in the file.
Record = collections.namedtuple("Record", "kind paths inode at size data end")


def records_of(path):
    """All complete records of the file. The last one may be cut short: its process was killed while it wrote it."""
    text, at = pathlib.Path(path).read_bytes(), 0
    while at + HEAD.size <= len(text):
        kind, path_bytes, inode, offset, size = HEAD.unpack_from(text, at)
        kind, data_at = chr(kind), at + HEAD.size + path_bytes
        at = data_at + (size if kind == "W" else 0)
        if at > len(text):
            return
        paths = [os.path.normpath(name) for name in text[data_at - path_bytes:data_at].decode().split("\0") if name]
        yield Record(kind, paths, inode, offset, size, text[data_at:at] if kind == "W" else b"", at)


def cut_to(content, size):
    del content[size:]
    content.extend(bytes(size - len(content)))


def change_bytes(content, changes):
    """`changes`: writes (at, bytes) and cuts (size, None)."""
    for at, data in changes:
        if data is None:
            cut_to(content, at)
        else:
            content.extend(bytes(max(0, at - len(content))))
            content[at:at + len(data)] = data
    return content


class File:
    """The bytes that are safe, and the changes since."""

    def __init__(self, safe=b""):
        self.safe, self.changes = bytearray(safe), []

    def sync(self):
        change_bytes(self.safe, self.changes)
        self.changes = []

    def now(self):
        return change_bytes(bytearray(self.safe), self.changes)

    def after(self, fate, rng):
        if fate in ("nothing", "names") or not self.changes:
            return self.safe
        return self.some_pages(rng) if fate == "pages" else self.torn(rng)

    def some_pages(self, rng):
        now, content = self.now(), bytearray(self.safe)
        cut_to(content, rng.choice([len(now), len(self.safe)]))
        for at in range(0, len(content), PAGE_BYTES):
            if rng.random() < 0.5:
                page = now[at:min(at + PAGE_BYTES, len(content))]
                content[at:at + len(page)] = page
        return content

    def torn(self, rng):
        count = rng.randrange(len(self.changes))
        at, data = self.changes[count]
        torn = [] if data is None else [(at, data[:rng.randrange(len(data) + 1)])]
        return change_bytes(bytearray(self.safe), self.changes[:count] + torn)


class Folder:
    """The names that are safe, and the changes since: {name: thing}, None where a name was removed. The names in one
    change last together: a rename doesn't lose the thing."""

    def __init__(self):
        self.safe, self.changes = {}, []

    def sync(self):
        self.safe, self.changes = self.now(), []

    def now(self):
        return self.with_changes(len(self.changes))

    def with_changes(self, count):
        names = dict(self.safe)
        for change in self.changes[:count]:
            names.update(change)
        return {name: thing for name, thing in names.items() if thing is not None}

    def after(self, fate, rng):
        count = {"nothing": 0, "names": len(self.changes)}
        return self.with_changes(count[fate] if fate in count else rng.randint(0, len(self.changes)))


class Disk:
    """A tree of folders and files, with what is known to be safe of each."""

    def __init__(self, path):
        self.path, self.root = os.path.normpath(path), Folder()
        self.inodes = {os.stat(path).st_ino: self.root}
        self.made_as = {}  # inode: path

    @classmethod
    def of_folder(cls, path):
        """The disk after a start of the machine: everything that is there is safe."""
        disk = cls(path)
        disk.take(pathlib.Path(path), disk.root)
        return disk

    def take(self, path, folder):
        for entry in path.iterdir():
            thing = Folder() if entry.is_dir() else File(entry.read_bytes())
            folder.safe[entry.name] = self.inodes[entry.stat().st_ino] = thing
            if entry.is_dir():
                self.take(entry, thing)

    def place(self, path):
        """(folder, name) of a path on this disk."""
        folder, (*above, name) = self.root, os.path.relpath(path, self.path).split("/")
        for step in above:
            folder = folder.now()[step]
        return folder, name

    def thing(self, path):
        folder, name = self.place(path)
        return folder.now()[name]

    def name(self, path, thing):
        folder, name = self.place(path)
        folder.changes.append({name: thing})

    def rename(self, old, new):
        thing, (old_folder, old_name), (new_folder, new_name) = self.thing(old), self.place(old), self.place(new)
        assert old_folder is new_folder, "between folders it would be two changes"
        new_folder.changes.append({new_name: thing, old_name: None})

    def apply(self, record):
        if record.kind in "CD":
            self.inodes[record.inode] = File() if record.kind == "C" else Folder()
            self.made_as[record.inode] = record.paths[0]
            self.name(record.paths[0], self.inodes[record.inode])
        elif record.kind == "L":
            self.name(record.paths[1], self.thing(record.paths[0]))
        elif record.kind == "R":
            self.rename(*record.paths)
        elif record.kind == "X":
            self.name(record.paths[0], None)
        elif record.kind == "S":
            self.inodes[record.inode].sync()
        else:
            change = (record.at, record.data) if record.kind == "W" else (record.size, None)
            self.inodes[record.inode].changes.append(change)

    def write_to(self, path, fate, rng):
        """Writes what is left of it into an empty folder."""
        write_folder(pathlib.Path(path), self.root, fate, rng)

    def contents(self):
        """{path: bytes} of everything, safe or not."""
        return dict(walk(self.root, ""))


def walk(folder, at):
    for name, thing in folder.now().items():
        if isinstance(thing, File):
            yield f"{at}{name}", bytes(thing.now())
        else:
            yield from walk(thing, f"{at}{name}/")


def write_folder(path, folder, fate, rng):
    path.mkdir(mode=0o700, exist_ok=True)
    for name, thing in folder.after(fate, rng).items():
        if isinstance(thing, File):
            (path / name).write_bytes(thing.after(fate, rng))
        else:
            write_folder(path / name, thing, fate, rng)
