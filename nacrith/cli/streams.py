"""Descriptors as other programs leave them: in non-blocking mode, perhaps.

That mode belongs to the open pipe or terminal and not to a process, so whoever shares it with us (a shell, an
event loop) may set it at any time. To read then gives nothing without being at the end, and to write takes a
part or nothing. A `PatientFile` waits instead, so that it is like any other file.
"""

from __future__ import annotations

import io
import select
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_CHUNK = 1 << 20  # bytes read at a time where all is asked for


class PatientFile(io.FileIO):
    """An unbuffered file, of which every call waits until it has done something.

    Reading gives nothing only at the end, and writing ends when all is written.
    """

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while (count := super().readinto(buffer)) is None:
            self._wait(reading=True)
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        while (data := super().read(size)) is None:
            self._wait(reading=True)
        return data

    def readall(self) -> bytes:
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """What is left, as it comes."""
        while chunk := self.read(_CHUNK):
            yield chunk

    def write(self, data: ReadableBuffer, /) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            count = super().write(left)
            if count is None:
                self._wait(reading=False)
            else:
                left = left[count:]
        return size

    def _wait(self, *, reading: bool) -> None:
        waiting = select.poll()
        waiting.register(self.fileno(), select.POLLIN if reading else select.POLLOUT)
        waiting.poll()
