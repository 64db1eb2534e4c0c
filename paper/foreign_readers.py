"""Other people's programs that flatten a layered file: the judges of our exports.

Each reader mixes the layers itself and ignores the merged picture in the file. Pictures are
`[h w 4]` in 0..255, straight alpha.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from psd_tools import PSDImage
from psd_tools.composite import composite
from pyora import Project

Picture = Float[np.ndarray, "h w 4"]

GIMP = shutil.which("gimp-console")
KRITA = shutil.which("krita") if shutil.which("xvfb-run") else None

_GIMP_FLATTENS = """
(let* ((image (car (gimp-file-load RUN-NONINTERACTIVE "{file}" "{file}")))
       (merged (car (gimp-image-merge-visible-layers image CLIP-TO-IMAGE))))
  (file-png-save RUN-NONINTERACTIVE image merged "{png}" "{png}" 0 9 0 0 0 0 0))
"""
_LONGEST_RUN = 600


def psd_by_psd_tools(file: Path) -> Picture:
    """What psd-tools' own renderer sees in a PSD, before its conversion to 8 bits, which cuts off
    where it could round."""
    colour, _, alpha = composite(PSDImage.open(file))
    return np.concatenate([colour, alpha], axis=2) * 255


def ora_by_pyora(file: Path) -> Picture:
    """What pyora sees in an OpenRaster file."""
    with file.open("rb") as opened:
        return _pixels(Project.load(opened).get_image_data(use_original=False))


def by_gimp(file: Path) -> Picture:
    """What GIMP sees in a PSD. The path holds no quotes."""
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / "flat.png"
        script = _GIMP_FLATTENS.format(file=file.resolve(), png=png)
        command = ["gimp-console", "-i", "-n", "--no-data", "--no-fonts"]
        _run([*command, "-b", script, "-b", "(gimp-quit 0)"], folder)
        return _read(png)


def by_krita(file: Path) -> Picture:
    """What Krita sees in a PSD or OpenRaster file; needs an X server of its own (xvfb)."""
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / "flat.png"
        export = ["krita", "--export", "--export-filename", str(png), str(file.resolve())]
        _run(["xvfb-run", "-a", *export], folder)
        return _read(png)


def _run(command: list[str], home: str) -> None:
    """Run a program with fresh settings; its chatter is thrown away, its picture is the answer."""
    subprocess.run(
        command,
        env=os.environ | {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home},
        timeout=_LONGEST_RUN,
        capture_output=True,
        check=False,
    )


def _read(png: Path) -> Picture:
    with Image.open(png) as image:
        return _pixels(image)


def _pixels(image: Image.Image) -> Picture:
    return np.asarray(image.convert("RGBA"), dtype=np.float32)
