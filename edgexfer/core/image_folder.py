"""A folder of class folders, or one with train/, val/, test/ above them, as samples.

    DATA/<class>/**/<image>                       undivided
    DATA/{train,val,test}/<class>/**/<image>      divided by the user

Symbolic links are followed, but never to a folder above or to one that was entered before: a loop of links ends.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgexfer.core.errors import DataError
from edgexfer.core.sample import Rejected, Sample, class_label, is_ignored_name, is_image_name, split_name

NOT_AN_IMAGE = "is not an image (by its suffix)"
_LAYOUT = "put the images of each class into one folder: DATA/cats/1.jpg, DATA/dogs/2.jpg"


def read_image_folder(root: Path) -> tuple[list[Sample], list[Rejected]]:
    """Lists the images below `root`, and the files that nothing can be made from.

    Returns:
        Samples in the order of their paths; files that are no images or lie in no class folder.

    Raises:
        DataError: no class folders, an empty one, unusable or doubled names, an unreadable folder.
    """
    folders, files = _children(root)
    splits = _split_folders(root, folders)
    rejected = [_outside(root, path) for path in files if is_image_name(path)]
    if not folders:
        found = f"only images without class folders ({rejected[0].path})" if rejected else "no class folders"
        raise DataError(f"{root} has {found}", _LAYOUT)
    samples: list[Sample] = []
    if not splits:
        samples += _read_classes(root, folders, None, rejected)
    for split, folder in splits.items():
        classes, loose = _children(folder)
        if not classes:
            raise DataError(
                f"{folder} has no class folders", f"sort its images into one folder per class, or move it out of {root}"
            )
        rejected += [_outside(root, path) for path in loose if is_image_name(path)]
        samples += _read_classes(root, classes, split, rejected)
    return samples, rejected


def _split_folders(root: Path, folders: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        split = split_name(folder.name)
        if split in found:
            raise DataError(
                f"{root} has both {found[split].name}/ and {folder.name}/, which mean the same split",
                "put their images into one of them",
            )
        if split is not None:
            found[split] = folder
    others = [folder.name for folder in folders if split_name(folder.name) is None]
    if found and others:
        known = ", ".join(f"{folder.name}/" for folder in found.values())
        raise DataError(
            f"{root} has {known} and beside it {', '.join(f'{name}/' for name in others[:5])}",
            "move what is no split out of it; where these are all classes, list the images in a CSV: path,label",
        )
    return found


def _read_classes(root: Path, folders: list[Path], split: str | None, rejected: list[Rejected]) -> list[Sample]:
    samples: list[Sample] = []
    named: dict[str, Path] = {}
    for folder in folders:
        label = class_label(folder.name, f"class folder {folder}")
        if label in named:
            raise DataError(
                f"{named[label]!s} and {folder!s} have the same name in different Unicode forms",
                "put their images into one folder",
            )
        named[label] = folder
        files = _files_below(folder)
        images = [path for path in files if is_image_name(path) and path.is_file()]
        if not images:
            others = f" (but {len(files)} other files, such as {files[0].name})" if files else ""
            raise DataError(f"class folder {folder} has no images{others}", "put images into it, or remove it")
        samples += [Sample(path, label, split) for path in images]
        for path in files:
            if not path.is_file():
                rejected.append(Rejected(_relative(root, path), "is not a file that can be opened (a broken link?)"))
            elif not is_image_name(path):
                rejected.append(Rejected(_relative(root, path), NOT_AN_IMAGE))
    return samples


def _files_below(folder: Path) -> list[Path]:
    files: list[Path] = []
    entered = {_identity(above) for above in folder.resolve().parents}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        if _identity(current) in entered:
            continue
        entered.add(_identity(current))
        inner, here = _children(current)
        files += here
        waiting += reversed(inner)
    return sorted(files)


def _children(folder: Path) -> tuple[list[Path], list[Path]]:
    # Folders and files directly in `folder`, each sorted, without what is ignored.
    folders: list[Path] = []
    files: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_ignored_name(entry.name):
                    (folders if entry.is_dir() else files).append(folder / entry.name)
    except OSError as error:
        raise DataError(f"cannot read folder {folder}: {error.strerror}", "make it readable") from error
    return sorted(folders), sorted(files)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _outside(root: Path, path: Path) -> Rejected:
    return Rejected(_relative(root, path), "lies in no class folder")


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
