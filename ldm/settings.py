"""Settings: dataclasses that YAML files and `key=value` words fill.

An unknown key is an error that says "did you mean".
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ldm.mistake import MistakeError

Settings = TypeVar("Settings")


class ConfigError(MistakeError):
    """Settings that cannot be read; its text is one line for a person."""


def filled(settings: Settings, *given: DictConfig) -> Settings:
    """A dataclass with what is given over it, the later over the earlier."""
    structured = OmegaConf.structured(settings)
    return cast(Settings, OmegaConf.to_object(OmegaConf.merge(structured, *given)))


def yaml_of(settings: object) -> str:
    """A dataclass, every value of it, as YAML."""
    return OmegaConf.to_yaml(OmegaConf.structured(settings))


def words_of(arguments: Sequence[str]) -> DictConfig:
    """`key.sub=value` words."""
    return OmegaConf.from_dotlist(list(arguments))


def read_yaml(path: Path, above: Sequence[Path] = ()) -> DictConfig:
    """A YAML file over the one that its key `like` names, a file in the same folder.

    Raises ConfigError for what holds no keys or is like itself; use it inside `one_line`.
    """
    if path in above:
        raise ConfigError(f"config {path}: like: found a file that is like itself")
    given = OmegaConf.load(path)
    if not isinstance(given, DictConfig):
        raise ConfigError(f"config {path}: found a list, expected keys such as canvas, unet")
    like = given.pop("like", None)
    if like is None:
        return given
    return cast(
        DictConfig, OmegaConf.merge(read_yaml(path.parent / str(like), [*above, path]), given)
    )


@contextmanager
def one_line(what: str) -> Generator[None]:
    """Errors of reading as ConfigError, said in one line."""
    try:
        yield
    except (
        OSError,
        TypeError,
        UnicodeDecodeError,
        YAMLError,
        OmegaConfBaseException,
    ) as error:
        lines = [line.strip() for line in str(error).split("\n")[:2]]
        raise ConfigError(f"{what}: {' '.join(lines)}") from error
