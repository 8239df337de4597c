"""`tminus demo`: the whole story, on this machine, in a minute."""

from pathlib import Path

import click


@click.command("demo")
@click.option("--seed", default=1, show_default=True, help="Of the generated world.")
@click.option(
    "--variant",
    type=click.Choice(["leak", "late-trigger", "quiet"]),
    default="leak",
    show_default=True,
    help="leak: a trigger clears last_login with the cancel, and an input drifts; late-trigger: 30 ms later, no drift; "
    "quiet: neither.",
)
@click.option(
    "--lake",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the lake is kept for your questions.  [tminus-demo-lake]",
)
def command(seed: int, variant: str, lake: Path | None) -> int:
    """Watch a label leak and a drifting input being caught, and models being switched to their safe default.

    Everything runs here and ends by itself: an embedded broker, the stages, three serving nodes and a story.
    """
    from streams.stories.demo import run

    return run(seed=seed, variant=variant, lake=lake or Path("tminus-demo-lake"))
