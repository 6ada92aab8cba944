"""How a run came to be: the trainings, updates and refits that it was made by, each of the run before.

run.json keeps all but the last of them as `earlier`, since the older runs may be gone when somebody is to be forgotten.
"""

from dataclasses import dataclass

from gnnrec.run_folder import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    verb: str  # train | update | refit
    folder: str  # of the run that it made
    settings: str  # TOML
    partitions: int  # how many of the run's had been read
    fingerprint: str  # of the data


def steps_of(run: Run) -> tuple[Step, ...]:
    """All steps, the oldest first; none where an update or a refit was made before runs kept them."""
    told = run.provenance
    verb = "update" if told.get("started_from") else "refit" if told.get("refit_of") else "train"
    earlier = told.get("earlier", ())
    if verb != "train" and not earlier:
        return ()
    own = Step(
        verb=verb,
        folder=str(run.folder.resolve()),
        settings=run.recipe.to_toml(),
        partitions=len(run.partitions),
        fingerprint=told["dataset"]["fingerprint"],
    )
    return (*(Step(**one) for one in earlier), own)
