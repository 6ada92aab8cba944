"""Where a run comes from, in words: what made it, on what, and about what it took."""

from typing import Any

from gnnrec.inspect.facts import provenance
from gnnrec.run_folder import Run

WATTS = 12.0  # a core under load: what Green Algorithms (Lannelongue et al. 2021) take where the processor is unknown


def origin(run: Run) -> dict[str, Any]:
    """Everything that the run recorded about how it was made, in one level, seeds, time and energy with it."""
    told = run.provenance
    seeds = {"training": run.recipe.train.seed, "split": run.recipe.split.get("seed", 0)}
    facts = {
        "made": told["finished"],
        "seeds": ", ".join(f"{name} {seed}" for name, seed in seeds.items()),
        "seconds_of_training": told["training_seconds"],
        "seconds_in_all": told["total_seconds"],
        "energy_estimate": energy(told["total_seconds"], told["machine"]),
    }
    return flat(facts | provenance(run))


def energy(seconds: float, machine: dict[str, Any]) -> str:
    """An upper bound in words: all threads busy all the time, memory, GPU and cooling left out."""
    threads = machine.get("threads") or 1
    watt_hours = seconds * threads * WATTS / 3600
    text = f"about {watt_hours:.2g} Wh = {seconds:,.0f} s x {threads} thread(s) x {WATTS:g} W a core; an assumption,"
    return f"{text} not a measurement{', and without the GPU' if machine.get('cuda') else ''}"


def flat(facts: dict[str, Any]) -> dict[str, Any]:
    """One level, in words."""
    words: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            words |= value
        else:
            words[name.replace("_", " ")] = value
    return {name: "none" if value is None else value for name, value in words.items()}
