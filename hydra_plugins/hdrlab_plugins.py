"""Adds the configuration that lies beside hdrlab's loaded plug-ins to what Hydra searches."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class PluginFolders(SearchPathPlugin):
    """Searches the folder ``conf`` of a plug-in's package, or ``NAME_conf`` beside its file."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folders of what is loaded."""
        from hdrlab.config.registry.loading import LOADED

        for plugin in LOADED.values():
            if plugin.folder:
                search_path.append(f"hdrlab plug-in {plugin.name}", f"file://{plugin.folder}")
