"""The static site: leaderboards, a page for each run, comparisons and terms; opens from a file, without a network."""

from bench.site.build import build_site

__all__ = ["build_site"]
