"""How well units follow phones: phone purity, cluster purity, PNMI (Hsu et al. 2021, HuBERT,
section IV-D).

All three come from p(y, z), the share of frames with phone y and unit z:

    phone purity    E_z max_y p(y | z)      frame accuracy if each unit were read as its most likely
    phone cluster purity  E_y max_z p(z | y)      the same with the roles changed; falls as units
    become more PNMI            I(y; z) / H(y)          the share of the uncertainty about the phone
    that the unit takes away
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import InputError
from spire_dsu.types import Int64

Labels = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Purity:
    """The three measures, each from 0 to 1; more is better."""

    phone_purity: float
    cluster_purity: float
    pnmi: float


def measure_purity(units: Labels, phones: Labels) -> Purity:
    """All three measures at once; see `phone_purity`, `cluster_purity` and `pnmi`."""
    counts = joint_counts(units, phones)
    return Purity(_phone_purity(counts), _cluster_purity(counts), _pnmi(counts))


def phone_purity(units: Labels, phones: Labels) -> float:
    """sum_z p(z) max_y p(y | z) = sum_z max_y p(y, z).

    Args:
        units: integers [T], at least 0, one per frame.
        phones: integers [T], at least 0, one per frame.

    Raises:
        InputError: lengths differ, no frame, not integers, or a negative label.
    """
    return _phone_purity(joint_counts(units, phones))


def cluster_purity(units: Labels, phones: Labels) -> float:
    """sum_y p(y) max_z p(z | y) = sum_y max_z p(y, z). Arguments and errors as `phone_purity`."""
    return _cluster_purity(joint_counts(units, phones))


def pnmi(units: Labels, phones: Labels) -> float:
    """I(y; z) / H(y), the phone-normalised mutual information; 1 if only one phone occurs (nothing
    is unknown).

    Arguments and errors as `phone_purity`.
    """
    return _pnmi(joint_counts(units, phones))


def joint_counts(units: Labels, phones: Labels) -> Int64:
    """int64 [Y, Z]: frames with phone y and unit z, Y and Z one more than the largest labels."""
    units, phones = np.asarray(units), np.asarray(phones)
    if units.ndim != 1 or units.shape != phones.shape or not units.size:
        raise InputError(
            f"units and phones must be 1-D and of one length, got {units.shape} and {phones.shape}"
        )
    for name, labels in (("unit", units), ("phone", phones)):
        if labels.dtype.kind not in "iu":
            raise InputError(f"{name} labels must be integers, got {labels.dtype}")
        if int(labels.min()) < 0:
            raise InputError(f"{name} labels must not be negative, got {int(labels.min())}")
    rows, columns = int(phones.max()) + 1, int(units.max()) + 1
    flat = phones.astype(np.int64) * columns + units.astype(np.int64)
    return np.bincount(flat, minlength=rows * columns).reshape(rows, columns).astype(np.int64)


def _phone_purity(counts: Int64) -> float:
    return float(counts.max(axis=0).sum() / counts.sum())


def _cluster_purity(counts: Int64) -> float:
    return float(counts.max(axis=1).sum() / counts.sum())


def _entropy(counts: Int64) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _pnmi(counts: Int64) -> float:
    of_phones, of_units = _entropy(counts.sum(axis=1)), _entropy(counts.sum(axis=0))
    if of_phones == 0.0:
        return 1.0
    information = of_phones + of_units - _entropy(counts)
    return min(1.0, max(0.0, information / of_phones))
