"""Errors about settings, source files and stored tables.

Each class takes the culprits as data and builds its own message: what, found, expected, fix.
"""

from __future__ import annotations

from collections.abc import Sequence

from transforms.errors import IsthmusError, LatticeError, ShapeError
from transforms.model_alignment import explain_alignment


class SettingsError(IsthmusError):
    """The settings file cannot be used. Permanent; all problems are listed at once."""

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        super().__init__(f"{path}: " + "; ".join(problems))


class SourceMissingError(IsthmusError):
    """A source root, index or file is not there. Permanent."""

    def __init__(self, what: str, found: object, expected: object, fix: str) -> None:
        super().__init__(f"{what}: found {found}, expected {expected}. {fix}")


class SourceFormatError(IsthmusError):
    """A source file is not what its product declares. Permanent: a retry reads the same bytes."""

    def __init__(self, path: str, what: str, found: object, expected: object, fix: str) -> None:
        super().__init__(f"{path}: {what}: found {found}, expected {expected}. {fix}")


class SourceUnavailableError(IsthmusError):
    """A server gave no good answer to any try. Transient: a later run may succeed."""

    def __init__(self, url: str, tries: int, seconds: float, cause: str) -> None:
        super().__init__(
            f"{url}: found no good answer in {tries} tries over {seconds:.0f} s (the last: {cause}), expected bytes "
            "of it. The server or the network is down or overloaded, or the address is wrong: run again later, what is "
            "stored stays. tries, timeout_s and connections of [sources.*] and [warehouse] say how hard to try."
        )


class SourceRefusedError(IsthmusError):
    """A server answers, but not with what was asked for. Permanent: the same request gets the same answer."""

    def __init__(self, url: str, answer: str, fix: str) -> None:
        super().__init__(f"{url}: found {answer}, expected the file. {fix}")


class SourceForbiddenError(SourceRefusedError):
    """A server does not let this user read a file, or does not tell this user that it is not there (403, 401)."""

    def __init__(self, url: str, answer: str) -> None:
        super().__init__(
            url, answer,
            "Is it public, and the region right? Otherwise give credentials that may do it; for a source, set "
            "sources.*.anonymous = false, too. A bucket answers so for a file that is not there, too, unless "
            "s3:ListBucket is granted beside s3:GetObject.",
        )  # fmt: skip


class NoCredentialsError(SourceForbiddenError):
    """A bucket is to be reached with credentials, and the environment has none."""

    def __init__(self, url: str) -> None:
        IsthmusError.__init__(
            self,
            f"{url}: found no credentials in the environment, nor a role of this machine, expected some. Set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (profiles and SSO: `eval $(aws configure export-credentials "
            "--format env)`). A public source needs none: leave anonymous out.",
        )


class ListingRefusedError(IsthmusError):
    """A server cannot say which files it has. Permanent."""

    def __init__(self, url: str, answer: str) -> None:
        super().__init__(
            f"{url}: found no listing ({answer}), expected one as S3 gives it. Plain web servers and some buckets have "
            "none: give another address of the same files, s3:// or gs://, or set [area] where names follow from "
            "places (Earth Genome)."
        )


class SourceChangedError(IsthmusError):
    """A file is not the version that was listed, or that its reading began with."""

    def __init__(self, url: str, found: str, expected: str) -> None:
        super().__init__(
            f"{url}: changed while it was read: found {found}, expected {expected}. Nothing of it was stored. Run "
            "again: the index is read anew, and all rows then come from one version."
        )


class CacheError(IsthmusError):
    """The block cache cannot be written."""

    def __init__(self, root: str, problem: str) -> None:
        super().__init__(
            f"block cache {root}: found {problem}, expected a folder that can be written. Set cache.root to another "
            "folder, or cache.max_gb = 0 to do without."
        )


class BandCountError(SourceFormatError):
    """A raster does not have the bands that its product declares."""

    def __init__(self, path: str, found: int, expected: int) -> None:
        super().__init__(
            path,
            "bands",
            found,
            expected,
            "Is this another product? Set it in warehouse/products.toml, or remove the file from the root.",
        )


class SchemaError(IsthmusError):
    """A table that is about to be written differs from its declared schema. Permanent."""

    def __init__(self, table: str, problems: Sequence[str]) -> None:
        super().__init__(
            f"{table}: " + "; ".join(problems) + ". Declare the change in warehouse/schemas.py and raise its version."
        )


class PartitionMissingError(IsthmusError):
    """A stored partition that is needed does not exist yet."""

    def __init__(self, table: str, key: str) -> None:
        super().__init__(
            f"{table}[{key}]: found no such partition, expected one written before. "
            f"Materialise {table} for this partition first."
        )


class StoredTableError(IsthmusError):
    """A stored file cannot be read as the table that it belongs to. Permanent until it is written again."""

    def __init__(self, table: str, path: str, problem: str) -> None:
        super().__init__(f"{table}: {path}: {problem}. Materialise {table} for this partition again.")


class StoredRecordError(IsthmusError):
    """A small file that Isthmus keeps beside its tables is not what it wrote. Permanent until it is removed."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(
            f"{path}: found {problem}, expected what Isthmus wrote. Correct it, or remove it to start without it."
        )


class ModelsDifferError(IsthmusError):
    """Vectors of two models or grids were about to stand under one product. Permanent."""

    def __init__(self, what: str, found: str, expected: str, fix: str) -> None:
        super().__init__(
            f"{what}: found vectors of '{found}', expected '{expected}'. To bring both together, "
            f"{explain_alignment(found, expected)}. {fix}"
        )


class UnknownProductError(IsthmusError):
    """The settings name a product that the registry does not hold."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"product '{name}': found no entry, expected one of {sorted(known)}. "
            "Add an entry to warehouse/products.toml or to a [products.<name>] table of the settings file."
        )


class DiskSpaceError(IsthmusError):
    """Too little room on the disk for what is about to be written."""

    def __init__(self, path: str, free_mb: int, needed_mb: int) -> None:
        super().__init__(
            f"{path}: found {free_mb} MB free, expected at least {needed_mb} MB. "
            "Free some space, or point warehouse.root (for a bucket, warehouse.scratch) at another disk."
        )


class MissingPackageError(IsthmusError):
    """Something needs a package that is an optional dependency. Permanent."""

    def __init__(self, package: str, what: str, extra: str) -> None:
        super().__init__(
            f"{what}: found no {package}, expected it to be installed. Run: pip install 'isthmus[{extra}]'."
        )


class DiskFullError(IsthmusError):
    """The disk, or a quota on it, was full in the middle of a write."""

    def __init__(self, what: str, path: str, reason: str) -> None:
        super().__init__(
            f"{what}: {path}: found a full disk ({reason}), expected room to write. What was stored before is "
            "unchanged. Free some space, or point warehouse.root (for a bucket, warehouse.scratch) at another disk, "
            "and run the same command again."
        )


class NotWritableError(IsthmusError):
    """A folder or file may not be written by this user, or lies on a file system that is mounted read-only."""

    def __init__(self, what: str, path: str, reason: str) -> None:
        super().__init__(
            f"{what}: {path}: found a place that cannot be written ({reason}), expected one that can. "
            "What was stored before is unchanged. Give this user the right to write there (or mount it read-write), "
            "or choose another folder in the settings file."
        )


class WarehouseBusyError(IsthmusError):
    """Another run writes to the warehouse. It passes: the same command works when that run has ended."""

    def __init__(self, root: str, holder: str) -> None:
        super().__init__(
            f"{root}: found another run on this warehouse, {holder}, expected none: runs would replace each other's "
            "plans. Add --wait to start when it has ended, or stop it first. Queries and reports need not wait."
        )


class UnconditionalStoreError(IsthmusError):
    """An object store ignores the conditions of writes, so it cannot keep two runs apart. Permanent."""

    def __init__(self, root: str, condition: str) -> None:
        super().__init__(
            f"{root}: found a store that ignores {condition}, expected one that refuses a write whose condition does "
            "not hold, as Amazon S3 does: without that two runs would not notice each other. Use another store, a "
            "newer version of it, or a folder."
        )


class LeaseLostError(IsthmusError):
    """A run could not renew its lease on a warehouse in time. It passes: the same command goes on where it ended."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"{place}: found the lease of another run, expected that of this one, which was not renewed in time: the "
            "store was out of reach, or this machine slept. This run writes nothing more. Run the same command again "
            "when the other has ended; what is finished is kept."
        )


class MissingColumnsError(IsthmusError):
    """A table lacks columns that its format has. Permanent; all missing columns are listed."""

    def __init__(self, what: str, missing: Sequence[str], found: Sequence[str], fix: str) -> None:
        names = ", ".join(f"'{name}'" for name in missing)
        is_one = len(missing) == 1
        super().__init__(
            f"{what}: {'column' if is_one else 'columns'} {names} {'is' if is_one else 'are'} missing; "
            f"found {list(found)}. {fix}"
        )


class SourceContentError(IsthmusError):
    """The values of a source file break the rules of its product. Permanent; all problems are listed."""

    def __init__(self, path: str, problems: Sequence[str], fix: str) -> None:
        super().__init__(f"{path}: " + "; ".join(problems) + f". {fix}")


class AnotherProductError(IsthmusError):
    """A file is of another model, grid or year than the product it is read as. Permanent; prints the entry to add."""

    def __init__(self, what: str, problems: Sequence[str], entry: str) -> None:
        super().__init__(
            f"{what}: "
            + "; ".join(problems)
            + ". Vectors of two products cannot be compared, so they are never read as "
            f"one. Give these files a source of their own, and add this to the settings file:\n{entry}"
        )


class OverlappingSourcesError(IsthmusError):
    """Two files of one product and year cover the same ground. Permanent."""

    def __init__(self, first: str, second: str, area_km2: float) -> None:
        super().__init__(
            f"{first} and {second}: found {area_km2:.2f} km2 that both cover in one year, expected none. "
            "Was the layer re-issued? Keep the newer file's row in the index and remove the other."
        )


#: What one file is itself the cause of: another file, or another day, has nothing to do with it.
BAD_FILE_ERRORS = (
    SourceMissingError,
    SourceFormatError,
    SourceContentError,
    MissingColumnsError,
    AnotherProductError,
    LatticeError,
    ShapeError,
)


class UnknownCountryError(IsthmusError):
    """No country has the name or code that was asked for. Permanent."""

    def __init__(self, country: str, nearest: Sequence[str], n_known: int, file: str) -> None:
        near = f"one such as {', '.join(nearest)}" if nearest else "a name or an ISO 3166 code"
        super().__init__(
            f"country '{country}': found none of that name or code among {n_known} in {file}, expected {near}. "
            "Correct the name, or set area.geometry to a file of polygons."
        )


class UnplannedSchemeError(IsthmusError):
    """A fold scheme could not be planned for a kind of unit. Permanent until the folds are made again."""

    def __init__(self, unit: str, scheme: str, reason: str) -> None:
        super().__init__(
            f"{scheme} folds of {unit} units: found none, expected a plan. The reason: {reason.rstrip('.')}. "
            "See: select unit, scheme, reason from out_probe__fold_rules"
        )
