"""Every disk that a power loss may legally leave, from the record of what was called.

The model is weaker than any file system in use: what was not fsynced may be there, gone, torn at a sector or a page,
filled with zeros, or there in any order of sectors; names in a folder that was not fsynced may be there or not, each by
itself. What was fsynced stays.
"""

import hashlib
import os
import random
import shutil

SECTOR, PAGE = 512, 4096


class File:
    def __init__(self, data=b"", safe=b""):
        self.now, self.safe = data, safe


class Folder:
    def __init__(self, entries=()):
        self.now = dict(entries)
        self.safe = dict(self.now)
        self.waiting = []
        """Changes of names since the last fsync: (name that goes, name that comes, what it names)."""

    def change(self, gone, come=None, node=None):
        if gone is not None:
            self.now.pop(gone, None)
        if come is not None:
            self.now[come] = node
        self.waiting.append((gone, come, node))

    def after(self, chosen):
        found = dict(self.safe)
        for (gone, come, node), there in zip(self.waiting, chosen, strict=True):
            if there and gone is not None:
                found.pop(gone, None)
            if there and come is not None:
                found[come] = node
        return found


class Machine:
    """Replays calls on a folder; knows what of it is durable."""

    def __init__(self, root):
        self.path, self.root = root, Folder((entry.name, File(entry.read_bytes())) for entry in root.iterdir())
        for file in self.root.now.values():
            file.safe = file.now

    def at(self, path):
        node = self.root
        for part in path.relative_to(self.path).parts:
            node = node.now.get(part) if isinstance(node, Folder) else None
        return node

    def apply(self, call):
        node, home, name = (
            self.at(call.path),
            self.at(call.path.parent) if call.path != self.path else None,
            call.path.name,
        )
        if call.name == "open" and call.flags & os.O_CREAT:
            if node is None:
                home.change(None, name, File())
            elif call.flags & os.O_TRUNC:
                node.now = b""
        elif call.name == "write":
            node.now += call.data
        elif call.name == "fsync" and isinstance(node, File):
            node.safe = node.now
        elif call.name == "fsync":
            node.safe, node.waiting = dict(node.now), []
        elif call.name == "mkdir":
            home.change(None, name, Folder())
        elif call.name == "rename":
            home.change(name, call.other.name, node)
        elif call.name in ("unlink", "rmdir") and node is not None:
            home.change(name)

    def unsettled(self):
        """The files and folders of which something is not durable."""
        files, folders, seen, todo = [], [], set(), [self.root]
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, Folder):
                todo += [*node.now.values(), *node.safe.values(), *(one for *_, one in node.waiting if one is not None)]
                folders += [node] if node.waiting else []
            elif node.now != node.safe:
                files.append(node)
        return files, folders

    def image(self, contents, names, node=None, place=""):
        """{path: bytes, or None for a folder} where unsettled files and folders are as chosen."""
        node = node or self.root
        found = {}
        entries = node.after(names[id(node)]) if id(node) in names else node.now
        for name, one in entries.items():
            path = f"{place}{name}"
            if isinstance(one, Folder):
                found |= {path: None, **self.image(contents, names, one, f"{path}/")}
            else:
                found[path] = contents.get(id(one), one.safe)
        return found


def torn(file, rng, count):
    """What an unsynced file may hold: nothing new, all, a beginning, zeros, sectors in any order."""
    kept = file.safe if file.now.startswith(file.safe) else b""
    tail = file.now[len(kept) :]
    found = [file.safe, file.now, kept, kept + bytes(len(tail))]
    for size in (SECTOR, PAGE):
        cuts = range(size - len(kept) % size, len(tail), size)
        found += [kept + tail[:cut] for cut in cuts]
        found += [kept + tail[:cut] + bytes(len(tail) - cut) for cut in cuts]
    for _ in range(count):
        sectors = [tail[at : at + SECTOR] for at in range(0, len(tail), SECTOR)]
        found.append(kept + b"".join(one if rng.random() < 0.5 else bytes(len(one)) for one in sectors))
    return found


def choices(folder, rng, count):
    """Which of the waiting names are there: all, none, all but one, one alone, and some at random."""
    size = len(folder.waiting)
    found = [[True] * size, [False] * size]
    for place in range(size):
        found += [[other != place for other in range(size)], [other == place for other in range(size)]]
    return found + [[rng.random() < 0.5 for _ in range(size)] for _ in range(count)]


def images(machine, rng, count):
    """Disks that a power loss at this instant may leave."""
    files, folders = machine.unsettled()
    by_file = {id(file): torn(file, rng, count) for file in files}
    by_folder = {id(folder): choices(folder, rng, count) for folder in folders}
    for rest in (0, 1):  # the others: files as before or whole, names there or not
        base = {key: found[rest] for key, found in by_file.items()}
        names = {key: found[1 - rest] for key, found in by_folder.items()}
        yield machine.image(base, names)
        yield machine.image(base, {key: found[rest] for key, found in by_folder.items()})
        for key, found in by_file.items():
            for one in found:
                yield machine.image({**base, key: one}, {name: there[0] for name, there in by_folder.items()})
        for key, found in by_folder.items():
            for one in found:
                yield machine.image(base, {**names, key: one})
    for _ in range(count):
        yield machine.image(
            {key: rng.choice(found) for key, found in by_file.items()},
            {key: rng.choice(found) for key, found in by_folder.items()},
        )


def build(image, place):
    """Lay an image out in a folder, in place of what is there."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for path, data in image.items():
        if data is None:
            (place / path).mkdir()
        else:
            (place / path).write_bytes(data)


def digest(image):
    found = hashlib.sha256()
    for path in sorted(image):
        found.update(f"{path}\0{image[path] is None}\0".encode() + hashlib.sha256(image[path] or b"").digest())
    return found.digest()


def seeded(seed):
    return random.Random(seed)
