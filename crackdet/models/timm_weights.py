"""Where the published weights of timm's networks are on this machine, and their download."""

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import torch

from crackdet.core.errors import UserError, first_line

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # that a repository of timm may hold, in timm's order


def published_file(published: Any, key: str) -> Path:
    """Return a file of published weights: from the cache of the Hugging Face hub, torch's cache, or downloaded.

    Args:
        published: timm's `PretrainedCfg`.
        key: The setting, for the message.

    Raises:
        UserError: If it is in neither cache and cannot be downloaded; says where it is looked for.
    """
    if (found := _cached(published)) is not None:
        return found
    try:
        return _download(published)
    except Exception as error:  # of huggingface_hub, its HTTP client, or urllib
        raise UserError(_unavailable(published, key, first_line(error))) from None


def _cached(published: Any) -> Path | None:
    if published.hf_hub_id:
        from huggingface_hub import constants, try_to_load_from_cache

        repository, revision = _repository(published)
        for name in _hub_files(published):
            path = try_to_load_from_cache(repository, name, constants.HF_HUB_CACHE, revision)
            if isinstance(path, str):
                return Path(path)
    files = [Path(published.file)] if published.file else []
    if (file := _torch_file(published)) is not None:
        files.append(file)
    return next((file for file in files if file.is_file()), None)


def _download(published: Any) -> Path:
    if published.hf_hub_id:
        return _download_from_hub(published)
    file = _torch_file(published)
    assert file is not None, "published weights are on the hub or have an address"
    file.parent.mkdir(parents=True, exist_ok=True)
    digest = torch.hub.HASH_REGEX.search(file.name)
    torch.hub.download_url_to_file(_url(published), str(file), digest and digest[1], progress=False)
    return file


def _download_from_hub(published: Any) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if not constants.HF_HUB_OFFLINE and not getproxies():
        host = urlparse(constants.ENDPOINT).hostname
        try:
            socket.getaddrinfo(host, 443)  # the hub's client would try for half a minute
        except OSError:
            raise ConnectionError(f"no connection to {host}") from None
    repository, revision = _repository(published)
    *first, last = _hub_files(published)
    for name in first:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError:  # there is no connection
            raise
        except EntryNotFoundError:
            continue
    return Path(hf_hub_download(repository, last, revision=revision))


def _unavailable(published: Any, key: str, reason: str) -> str:
    places = []
    if published.hf_hub_id:
        from huggingface_hub import constants

        repository, _ = _repository(published)
        what = f"{_hub_files(published)[0]} of {repository}"
        folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
        places.append(f"where there is a network, run `hf download {repository}` and copy its folder to {folder}")
    if (file := _torch_file(published)) is not None:
        what = what if places else file.name
        places.append(f"copy {_url(published)} to {file.parent}")
    return (
        f"{key}: {what} cannot be downloaded ({reason}); {', or '.join(places)}; or set model.weights=FILE, or train "
        "from random weights: model.weights=null"
    )


def _repository(published: Any) -> tuple[str, str | None]:
    """Return the hub's repository and the revision, if the configuration names one."""
    repository, _, revision = str(published.hf_hub_id).partition("@")
    return repository, revision or None


def _hub_files(published: Any) -> tuple[str, ...]:
    return (published.hf_hub_filename,) if published.hf_hub_filename else HUB_FILES


def _url(published: Any) -> str:
    """Return the address of the file; empty if it has none, or is in a format of JAX."""
    url = published.url if isinstance(published.url, str) else (published.url or [""])[0]
    return "" if published.custom_load else url


def _torch_file(published: Any) -> Path | None:
    url = _url(published)
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name if url else None
