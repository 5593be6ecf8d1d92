"""Store: where files of pretrained networks lie: in this package, in a folder, or behind a URL that fills a cache.

    <root>/<name>/<files>        root: an argument, else $QNN_HOME, else ~/.mxnet/models

Nothing is used whose SHA-256 is not the index's. Files arrive one by one in <root>/.<name>.part and stay there when a
transfer breaks, so that the next one goes on; the finished folder is checked and renamed in one step.
"""
import errno
import hashlib
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from qnn.files import FileFormatError, write_atomically

PACKAGED = Path(__file__).resolve().parent / "weights"
TIMEOUT = 60  # seconds without a byte


def default_root():
    """The folder of the cache."""
    return Path(os.environ.get("QNN_HOME") or Path(os.environ.get("MXNET_HOME") or "~/.mxnet") / "models").expanduser()


def digest(paths):
    """SHA-256 of the contents of files, one behind the other in the order of their names."""
    result = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda path: path.name):
        result.update(path.read_bytes())
    return result.hexdigest()


def locate(row, names, root=None):
    """The folder that holds all files of an index row, checked; None where they are nowhere.

    Raises FileFormatError for files that are not those of the index.
    """
    for folder in (PACKAGED, Path(root or default_root()) / row["name"]):
        paths = [folder / name for name in names]
        if all(path.exists() for path in paths):
            _check(row, paths, "remove %s and fetch it again" % folder)
            return folder
    return None


def fetch(row, names, root=None, source=None, progress=None):
    """The folder with all files of an index row, fetched where they are missing.

    source: a folder, or a URL (file:, http:, https:) that the names are appended to; default: the row's own.
    progress: called behind every file. Raises OSError where a file cannot be had, FileFormatError for wrong contents.
    """
    found = locate(row, names, root)
    if found is not None:
        return found
    source = source or row.get("source")
    if not source:
        raise FileNotFoundError(errno.ENOENT, "is neither in the package nor in the cache, and has no address",
                                row["name"])
    folder = Path(root or default_root()) / row["name"]
    part = folder.with_name(".%s.part" % row["name"])
    part.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (part / name).exists():
            write_atomically({str(part / name): _read(source, name, folder)})
        if progress is not None:
            progress()
    try:
        _check(row, [part / name for name in names], "%s has other files than those of the index" % source)
    except FileFormatError:
        shutil.rmtree(part)
        raise
    if folder.exists():  # an incomplete one
        shutil.rmtree(folder)
    part.rename(folder)
    return folder


def _check(row, paths, advice):
    got = digest(paths)
    if got != row["sha256"]:
        raise FileFormatError("%s: SHA-256 is %s, expected %s: %s" % (
            paths[0] if len(paths) == 1 else paths[0].parent, got, row["sha256"], advice))


def _read(source, name, folder):
    """The bytes of one file."""
    if "://" not in str(source) and not str(source).startswith("file:"):
        return (Path(source) / name).read_bytes()
    url = "%s/%s" % (source.rstrip("/"), urllib.parse.quote(name))
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            content = response.read()
            expected = response.headers.get("Content-Length")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise OSError("%s: cannot be fetched: %s; without a network, put its files into %s, or name a folder that has "
                      "them as source" % (url, reason, folder)) from None
    if expected is not None and len(content) != int(expected):
        raise OSError("%s: %d of %s bytes arrived; fetch it again" % (url, len(content), expected))
    return content
