"""Files on descriptors that may be in non-blocking mode.

That mode belongs to the open pipe or terminal, not to a process, so another process that shares it (a
shell, an event loop) may set it at any time. Then a read may return nothing before the end, and a write
may take part of the data or none. A `PatientFile` waits instead, and so behaves like any other file.
"""

from __future__ import annotations

import io
import select
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_CHUNK = 1 << 20  # bytes per read when everything is read


class PatientFile(io.FileIO):
    """An unbuffered file whose calls wait until they have made progress.

    A read returns nothing only at the end; a write returns when everything is written.
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
        """The rest of the file, in chunks as they arrive."""
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
