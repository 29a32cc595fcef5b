"""Opens the data source of a configuration."""

from pathlib import Path

from crackdet.config.file_data import BoxesData, FilenameLabelsData, FolderData, MasksData, TableData
from crackdet.config.schema import Data, SyntheticData
from crackdet.data.sources.base import Source
from crackdet.data.sources.boxes import BoxesSource
from crackdet.data.sources.filename_labels import FilenameLabelsSource
from crackdet.data.sources.folder import FolderSource
from crackdet.data.sources.masks import MasksSource
from crackdet.data.sources.synthetic import SyntheticSource
from crackdet.data.sources.table import TableSource


def open_source(data: Data, cache_dir: Path) -> Source:
    """Return the source that the settings name; `cache_dir` keeps the digests of files.

    Raises:
        UserError: If the root folder does not exist, or the settings contradict each other.
    """
    match data:
        case SyntheticData():
            return SyntheticSource(data)
        case FolderData():
            return FolderSource(data, cache_dir)
        case FilenameLabelsData():
            return FilenameLabelsSource(data, cache_dir)
        case TableData():
            return TableSource(data, cache_dir)
        case BoxesData():
            return BoxesSource(data, cache_dir)
        case MasksData():
            return MasksSource(data, cache_dir)
    raise TypeError(f"no source for {type(data).__name__}")
