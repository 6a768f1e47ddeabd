"""The kernel that executes notebooks: the running Python, without settings of the user."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from traitlets import default

LONGEST_SOCKET = 90  # characters of the path of a Unix socket, without its number
SLOWEST_START = 300  # of a kernel, on a busy machine or from a slow disk [s]
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class Kernel(AsyncKernelManager):
    """A kernel of the running Python, whatever the user has installed or set for others.

    It is reached through Unix sockets in a folder of its own: free TCP ports are chosen before
    the kernel binds them, and if another program takes one meanwhile, the kernel dies, and its
    client waits for it for ever. It draws by the defaults of matplotlib and with the backend of
    notebooks, and runs no start-up file of IPython.

    Args:
        folder: for its sockets and what IPython writes.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder = folder
        super().__init__(**options)

    @property
    def kernel_spec(self) -> KernelSpec:
        """This Python, not the one that a kernelspec of the same name may point to."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, **KERNEL)

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        """Start it without the settings of the user for matplotlib and IPython."""
        own = {"MATPLOTLIBRC": os.devnull, "IPYTHONDIR": str(self._folder)}
        environment = {**options.pop("env", os.environ), **own}
        environment.pop("MPLBACKEND", None)
        await super().start_kernel(env=environment, **options)

    @default("connection_file")
    def _in_its_folder(self) -> str:
        return str(self._folder / "kernel.json")  # the sockets lie beside it

    @default("transport")
    def _unix_sockets(self) -> str:
        fits = len(self.connection_file) < LONGEST_SOCKET
        return "ipc" if fits and hasattr(socket, "AF_UNIX") else "tcp"

    def forget(self) -> None:
        """Remove all that a notebook has defined; loaded modules stay.

        Raises:
            RuntimeError: the kernel has ended.
        """
        client = self.blocking_client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=SLOWEST_START)
            client.execute(
                "get_ipython().reset()", silent=True, reply=True, timeout=SLOWEST_START
            )
        finally:
            client.stop_channels()


@contextmanager
def one_kernel() -> Iterator[Kernel]:
    """A kernel for several notebooks, which start faster in it: modules are loaded once.

    It starts with the first notebook.
    """
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        kernel = Kernel(Path(folder))
        try:
            yield kernel
        finally:  # also of one that has died
            run_sync(kernel.shutdown_kernel)(now=True)
