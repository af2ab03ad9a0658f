"""The local page: images judged by normal ones, and pairs looked at, in a browser."""

from model.page.judged import Network, names_inside
from model.page.page import build_page, launch

__all__ = ["Network", "build_page", "launch", "names_inside"]
