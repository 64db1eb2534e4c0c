"""Mitsuba as a tracer of rays: which rays a closed mesh stops, and where.

Nothing else of it is used: no materials, sensors or films, so that its two kernels are compiled
once per process, whatever the scene. Jakob et al., "Dr.Jit", 2022.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import drjit as dr
import mitsuba as mi
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ldm.mistake import MistakeError

_LIBRARY = "DRJIT_LIBLLVM_PATH"
_USUAL_PLACE = "*/libLLVM.so.19*"


class NoTracerError(MistakeError):
    """What Mitsuba needs to trace rays is missing; the text is one line that says what."""


@dataclass(frozen=True, kw_only=True)
class Rays:
    """`k` rays: where they begin and which way they go (unit vectors)."""

    origin: Float[Tensor, "3 k"]
    direction: Float[Tensor, "3 k"]


def start_tracing(threads: int, folder: Path = Path("/usr/lib")) -> torch.device:
    """Choose how this process traces rays: on a GPU with OptiX, else on `threads` threads by LLVM.

    Call it once, before any `Solid`; returns the device on which rays are then given. Raises
    NoTracerError where LLVM 19 is neither named by DRJIT_LIBLLVM_PATH nor below `folder`.
    """
    if _works("cuda_ad_rgb"):
        return torch.device("cuda")
    _find_llvm(folder)
    if not _works("llvm_ad_rgb"):
        raise NoTracerError(
            f"{_LIBRARY}: found {os.environ[_LIBRARY]}, which cannot be used; expected the "
            "library of `apt install libllvm19`"
        )
    dr.set_thread_count(threads)
    return torch.device("cpu")


def _find_llvm(folder: Path) -> None:
    """Name the library to Dr.Jit: older ones, which it would find by itself, abort the process."""
    named = os.environ.get(_LIBRARY)
    usual = sorted(folder.glob(_USUAL_PLACE))
    if named is None and usual:
        os.environ[_LIBRARY] = str(usual[0])
    elif named is None or not Path(named).is_file():
        raise NoTracerError(
            f"{_LIBRARY}: found {named or 'nothing'}, expected LLVM 19's library: "
            f"`apt install libllvm19` puts it in {folder}"
        )


def _works(variant: str) -> bool:
    """Whether a ray can be traced so; Mitsuba knows only when it tries."""
    try:
        mi.set_variant(variant)
        ray: Any = mi.Ray3f(mi.Point3f(0, 0, 3), mi.Vector3f(0, 0, -1))
        scene: Any = mi.load_dict({"type": "scene", "ball": {"type": "sphere"}})
        return bool(scene.ray_test(ray)[0])
    except Exception:  # whatever a driver, a library or Mitsuba itself may raise
        return False


class Solid:
    """A closed mesh, whose faces turn their front outwards: counterclockwise as seen from there."""

    def __init__(self, vertices: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> None:
        mesh: Any = mi.Mesh("solid", len(vertices), len(faces))
        parameters: Any = mi.traverse(mesh)
        parameters["vertex_positions"] = mi.Float(vertices.float().flatten())
        parameters["faces"] = mi.UInt32(faces.int().flatten())
        parameters.update()
        self._scene: Any = mi.load_dict({"type": "scene", "solid": mesh})
        first, second, third = vertices[faces.long()].unbind(1)
        self._outward = torch.linalg.cross(second - first, third - first).T

    def stops(self, rays: Rays, asked: Bool[Tensor, " k"]) -> Bool[Tensor, " k"]:
        """Whether the solid lies in the way of each ray that is asked about."""
        return self._scene.ray_test(_ray(rays), active=mi.Bool(asked)).torch()

    def stops_from_outside(self, rays: Rays, asked: Bool[Tensor, " k"]) -> Bool[Tensor, " k"]:
        """The same, but a ray that begins inside the solid is let out."""
        hit = self._scene.ray_intersect_preliminary(_ray(rays), active=mi.Bool(asked))
        met = hit.t.torch().isfinite()
        face = hit.prim_index.torch().long().where(met, 0)
        return met & ((self._outward[:, face] * rays.direction).sum(dim=0) < 0)

    def distances(self, rays: Rays, asked: Bool[Tensor, " k"]) -> Float[Tensor, " k"]:
        """How far each ray goes until it meets the solid; infinite where it never does."""
        return self._scene.ray_intersect_preliminary(_ray(rays), active=mi.Bool(asked)).t.torch()


def _ray(rays: Rays) -> Any:
    return mi.Ray3f(mi.Point3f(*_columns(rays.origin)), mi.Vector3f(*_columns(rays.direction)))


def _columns(vectors: Float[Tensor, "3 k"]) -> list[Any]:
    return [mi.Float(column) for column in vectors.contiguous()]
