"""The child process of `convert-weights`: reads one foreign checkpoint, writes one safetensors file, nothing else.

It bounds its own memory, time and output first, opens its two files, and then shuts the door: an audit hook ends the
process at any attempt to open, import, compile, connect or start anything. The answer is one JSON object on stdout.
"""

import codecs
import io
import json
import mmap
import os
import signal
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import numpy as np

from netwright.language import say, speak
from netwright.weights.container import Contents, contents
from netwright.weights.gathering import gather
from netwright.weights.pickled import BYTES, Refused, StoredTensor

MEMORY = 2**30
"""Bytes of address space beyond three times the file: once mapped, and a strided tensor gathered."""
GROWTH, FREE = 4, 2**26
"""The output may be so many times the file's size, or `FREE` bytes: tensors that share numbers are written apart."""
SECONDS, BYTES_A_SECOND = 30, 2**24
SHOWN = 20
CHUNK = 2**24
_SHUT = ("open", "import", "exec", "compile", "os.", "subprocess.", "socket.", "ctypes.", "shutil.", "pickle.", "code.")


def seconds_for(size: int) -> int:
    """How many seconds a file of `size` bytes may take."""
    return SECONDS + size // BYTES_A_SECOND


def main(source: str, draft: str, language: str) -> int:
    """Convert `source` into the new file `draft`; 0, or 3 with a reason where the checkpoint is refused."""
    speak(language)
    with open(source, "rb") as file, open(draft, "r+b") as out:
        size = os.fstat(file.fileno()).st_size
        bound(size)
        try:
            if not size:
                raise Refused(say("it is empty"))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                prepare()
                sys.addaudithook(shut)
                answer = convert(file, mapped, out)
        except Refused as error:
            answer = {"refused": str(error)}
        except MemoryError:
            answer = {"refused": say("it asks for more memory than a checkpoint of its size may take")}
        except OSError as error:
            answer = {"failed": error.strerror or str(error)}
    print(json.dumps(answer))
    return 0 if "tensors" in answer else 3


def convert(file: IO[bytes], mapped: mmap.mmap, out: IO[bytes]) -> dict[str, Any]:
    """Write the checkpoint's tensors to `out` as safetensors; how many, and what was left out."""
    found = contents(file, mapped)
    gathered = gather(found.value)
    write(gathered.tensors, found, mapped, out)
    return {
        "tensors": len(gathered.tensors), "left_out": gathered.left_out[:SHOWN],
        "left_out_count": len(gathered.left_out), "notes": [*found.notes, *gathered.notes],
    }  # fmt: skip


def write(tensors: dict[str, StoredTensor], found: Contents, mapped: mmap.mmap, out: IO[bytes]) -> None:
    """Header and numbers: eight bytes of length, JSON padded to eight, then every tensor's numbers without gaps."""
    order = sorted(tensors, key=lambda name: -BYTES[tensors[name].kind])  # wide ones first, so that all are aligned
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    total, limit = 0, max(FREE, GROWTH * len(mapped))
    for name in order:
        tensor = tensors[name]
        require(name, tensor, found)
        size = tensor.count * BYTES[tensor.kind]
        if total + size > limit:
            raise Refused(say("its tensors unfold to more than {limit:,} bytes", limit=limit))
        header[name] = {"dtype": tensor.kind, "shape": list(tensor.size), "data_offsets": [total, total + size]}
        total += size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    out.write(len(text).to_bytes(8, "little") + text)
    with memoryview(mapped) as view:
        for name in order:
            first, last = found.places[tensors[name].storage.key]
            with view[first:last] as storage:
                for part in numbers(tensors[name], storage):
                    out.write(part)
    out.flush()
    os.fsync(out.fileno())


def require(name: str, tensor: StoredTensor, found: Contents) -> None:
    """Refuse a tensor whose storage is missing, of another length than stated, or does not reach so far."""
    storage, width = tensor.storage, BYTES[tensor.kind]
    if storage.key not in found.places:
        raise Refused(say("tensor {name!r}: its storage {key!r} is missing", name=name[:120], key=storage.key[:40]))
    first, last = found.places[storage.key]
    stated = storage.count * BYTES.get(storage.kind, 1)
    if stated != last - first:
        raise Refused(say("tensor {name!r}: its storage is said to have {stated:,} bytes and has {size:,}",
                          name=name[:120], stated=stated, size=last - first))  # fmt: skip
    end = (last - first) // width
    if storage.within >= 0:
        end = min(end, storage.start + storage.within)
    if tensor.count and tensor.last >= end:
        raise Refused(say("tensor {name!r} of shape {shape} reaches beyond its storage",
                          name=name[:120], shape=list(tensor.size)[:8]))  # fmt: skip


def numbers(tensor: StoredTensor, storage: memoryview) -> Iterator[bytes | memoryview]:
    """A tensor's bytes in row order, in parts; whatever its strides, and where it shares its storage."""
    width, count = BYTES[tensor.kind], tensor.count
    steps, step = [], 1
    for side in reversed(tensor.size):
        steps.append(step)
        step *= side
    plain = all(
        side == 1 or stride == step
        for side, stride, step in zip(tensor.size, tensor.stride, reversed(steps), strict=True)
    )
    first = tensor.offset * width
    if not count:
        return
    if plain:
        for place in range(first, first + count * width, CHUNK):
            yield bytes(storage[place : min(place + CHUNK, first + count * width)])
        return
    strides = [stride * width for stride in tensor.stride]
    seen: np.ndarray = np.ndarray(tensor.size, f"V{width}", storage, first, strides)
    yield seen.tobytes()


def bound(size: int) -> None:
    """Limit this process: memory, processor seconds, output, no core dump, no child. Where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only bound
        return
    limits = {
        resource.RLIMIT_AS: MEMORY + 3 * size + GROWTH * size,
        resource.RLIMIT_CPU: seconds_for(size),
        resource.RLIMIT_FSIZE: 2 * FREE + (GROWTH + 1) * size,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS takes no bound on address space
            resource.setrlimit(kind, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is an error that is said, not a kill


def shut(event: str, given: tuple[Any, ...]) -> None:
    """The audit hook: reading numbers needs none of these."""
    if event.startswith(_SHUT):
        sys.stdout.write(
            json.dumps(
                {"refused": say("it made the reading process try something other than reading ({event})", event=event)}
            )
        )
        sys.stdout.flush()
        os._exit(70)


def prepare() -> None:
    """Do once what imports modules on its first use: afterwards the door is shut."""
    zipfile.ZipFile(io.BytesIO(b"PK\x05\x06" + bytes(18))).close()
    for name in ("ascii", "latin-1", "utf-8", "cp437"):
        codecs.lookup(name)
    np.zeros(1).tobytes()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
