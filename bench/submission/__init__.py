"""Records from somebody else, checked before anybody believes them: `check_submission(folder)`."""

from bench.submission.check import Verdict, check_submission
from bench.submission.findings import Finding

__all__ = ["Finding", "Verdict", "check_submission"]
