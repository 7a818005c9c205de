"""Ablation: the same small model trained on what each stage of the pipeline leaves.

Gopher's authors ask so whether their filters earn their place (2112.11446, appendix A.3.2): models
of one size, trained on one number of tokens of MassiveWeb unfiltered, then with quality filters,
then deduplicated as well. Here it is asked of one's own data, with several seeds.

    root/ablate/heldout/<subset>.jsonl   what no variant may train on (see `variants`)
    root/ablate/<variant>/               the build of a variant, up to its token stores
    root/ablate/runs/<variant>/<seed>/   its trainings
    root/ablate/table.json, table.csv    the result
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from massivetext.config import Config
from massivetext.config_file import to_dict
from massivetext.config_mixture import Construction
from massivetext.construction import stocks
from massivetext.dataset import atomic_file, claimed, write_json
from massivetext.errors import ConfigError, StageError
from massivetext.lineage import tokens_identity
from massivetext.mixture import plan, resolve_weights
from massivetext.pipelines.build import build
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.progress import Progress
from massivetext.trainer.ramp import sequences_of

from .ablation_table import Row, table, to_csv
from .proxies import Proxy, ProxyResult, diverged, run_proxies
from .proxy_jobs import proxy_config
from .variants import Variant, adopt, edits_text, variants, write_heldout

FORMAT = "massivetext-ablation"
VERSION = 1

Manifest = dict[str, Any]


def ablate(root: Path, config: Config, *, workers: int, quiet: bool = False) -> dict[str, Any]:
    """Build the variants of `config`, train on each, and write and return the table.

    The whole build in `root` is finished first, up to its token stores. All that is done already,
    builds and trainings, is not done again. `config.ablate` has the seeds and the training; the
    mixture's weights are the same for all variants, in stages their mean, and a variant with too
    few tokens is repeated beyond `mixture.max_epochs`, which is said and stated in the table.

    Args:
      root: absolute path of the output folder of the whole build.
      workers: processes, of the builds and of the trainings.

    Returns:
      What `table.json` holds: `rows` (see `ablation_table.table`), `skipped` (variants that leave
      the same documents as the one before, with the reason), `diverged` (why, by name of run),
      `seeds`, `weights`, `train`, `tokens` (trained on in each run), `parameters`.

    Raises:
      ConfigError: nothing is held out to evaluate on, no stage does anything, or weights and
        training do not fit what a variant holds.
      StageError: a build or a training failed, or every training of a variant diverged.
    """
    _require(config)
    folder = root / "ablate"
    with claimed(folder):
        engine = Engine(workers=workers)
        whole = build(Context(root, engine, quiet), config, "tokens")
        chosen, stores, skipped = _build_variants(root, config, whole, engine, quiet)
        planned, epochs = _plan(config, chosen, stores, quiet)
        runs, failed = _train(root, planned, chosen, workers, quiet)
        rows = [
            _row(variant, stores[variant.name], epochs[variant.name], runs[variant.name])
            for variant in chosen
        ]
        first = next(result for results in runs.values() for result in results.values())
        weights = resolve_weights(planned.mixture, planned.subsets)
        value = {
            "format": FORMAT,
            "version": VERSION,
            "rows": table(rows, weights),
            "skipped": skipped,
            "diverged": failed,
            "seeds": _seeds(config),
            "weights": weights,
            "train": to_dict(planned.train),
            "tokens": first.tokens,
            "parameters": first.parameters,
        }
        write_json(folder / "table.json", value)
        with atomic_file(folder / "table.csv") as out:
            out.write(to_csv(value["rows"]).encode())
    return value


def _require(config: Config) -> None:
    """Refuse what cannot be compared, before anything is run."""
    if not (config.heldout.fraction and config.heldout.max_documents):
        raise ConfigError("heldout holds nothing out to compare on; set heldout.fraction above 0")
    if config.overlap.jaccard >= 1:
        raise ConfigError(
            "overlap.jaccard is 1, and nothing is above it, so copies of held-out documents would "
            "be trained on; set it below 1"
        )
    if all(variant.missing for variant in variants(config, Path(), ())[1:]):
        raise ConfigError("no subset has a rule, and neither duplicates nor copies are removed: "
                          "there is no stage to compare")  # fmt: skip


def _build_variants(
    root: Path, config: Config, whole: dict[str, Manifest], engine: Engine, quiet: bool
) -> tuple[list[Variant], dict[str, Manifest], list[dict[str, str]]]:
    """Return the variants that differ, the manifests of their token stores, and those left out."""
    earlier = []
    if edits_text(config):
        raw = variants(config, root, ())[0]
        _say(quiet, "raw: texts as they are before a stage cuts them")
        build(Context(Path(raw.config.output), engine, quiet), raw.config, "measure")
        earlier = [Path(raw.config.output), root]
    heldout = write_heldout(
        root, whole["documents"], earlier, config.overlap.text_field, root / "ablate" / "heldout"
    )
    if not heldout:
        raise ConfigError("no subset is large enough to hold a document out; add input")
    chosen: list[Variant] = []
    stores: dict[str, Manifest] = {}
    skipped = []
    for variant in variants(config, root, heldout):
        reason = variant.missing
        if not reason:
            _say(quiet, f"{variant.name}: {variant.adds}")
            adopt(root, config, variant.config)
            output = Path(variant.config.output)
            tokens = build(Context(output, engine, quiet), variant.config, "tokens")["tokens"]
            if chosen and tokens_identity(tokens) == tokens_identity(stores[chosen[-1].name]):
                reason = f"it leaves the same documents as {chosen[-1].name}"
        if reason:
            _say(quiet, f"{variant.name} is left out: {reason}")
            skipped.append({"variant": variant.name, "reason": reason})
            continue
        chosen.append(variant)
        stores[variant.name] = tokens
    return chosen, stores, skipped


def _plan(
    config: Config, chosen: list[Variant], stores: dict[str, Manifest], quiet: bool
) -> tuple[Config, dict[str, dict[str, float]]]:
    """Return the config of the trainings, and by variant and subset the epochs that they make."""
    limit = config.mixture.max_epochs
    train = config.ablate.train or config.train
    # No subset can be passed over more often than there are tokens to train on.
    tokens = sequences_of(train) * config.mixture.sequence_length
    config = replace(config, train=train, mixture=replace(config.mixture, max_epochs=float(tokens)))
    mixture = proxy_config(config, _proxies("plan", config)[0]).mixture
    assert mixture.weights is not None
    cropped = mixture.construction is Construction.GOPHER
    epochs: dict[str, dict[str, float]] = {}
    for variant in chosen:
        output = Path(variant.config.output)
        available = stocks(output, stores[variant.name], mixture, config.seed)
        try:
            planned = plan(mixture, mixture.weights, available)
        except ConfigError as error:
            raise ConfigError(f"variant {variant.name}: {error}") from error
        epochs[variant.name] = {
            subset.name: planned.token_epochs(subset) if cropped else subset.epochs
            for subset in planned.subsets
            if subset.used
        }
        for name, passes in epochs[variant.name].items():
            if passes > limit:
                _say(
                    quiet,
                    f"{variant.name} repeats {name} for {passes:.2f} epochs, above "
                    f"mixture.max_epochs {limit:g}: allowed here, and stated in the table",
                )
    most = max(passes for some in epochs.values() for passes in some.values())
    mixture = replace(config.mixture, max_epochs=max(limit, float(math.ceil(most))))
    return replace(config, mixture=mixture), epochs


def _train(
    root: Path, config: Config, chosen: list[Variant], workers: int, quiet: bool
) -> tuple[dict[str, dict[int, ProxyResult]], dict[str, str]]:
    """Return by variant the results by seed, and why, by name, the runs that diverged did."""
    folder = root / "ablate" / "runs"
    runs: dict[str, dict[int, ProxyResult]] = {}
    failed: dict[str, str] = {}
    for variant in chosen:
        _say(quiet, f"{variant.name}: trainings with seeds {', '.join(map(str, _seeds(config)))}")
        proxies = _proxies(variant.name, config)
        results = run_proxies(
            Path(variant.config.output),
            config,
            proxies,
            folder,
            workers=workers,
            heldout_root=root,
            quiet=quiet,
        )
        runs[variant.name] = {result.seed: result for result in results}
        why = diverged(proxies, folder)
        if not results:
            raise StageError(
                f"every training on {variant.name} diverged ({why[proxies[0].name]}); lower "
                "train.learning_rate and run the same command again"
            )
        failed |= why
    return runs, failed


def _proxies(variant: str, config: Config) -> list[Proxy]:
    weights = resolve_weights(config.mixture, config.subsets)
    return [Proxy(f"{variant}/{seed}", weights, config.train, seed) for seed in _seeds(config)]


def _seeds(config: Config) -> list[int]:
    return [(config.seed + number) % 2**63 for number in range(config.ablate.seeds)]


def _row(
    variant: Variant, tokens: Manifest, epochs: dict[str, float], runs: dict[int, ProxyResult]
) -> Row:
    drawn = [tokens["subsets"][name] for name in epochs]
    return Row(
        variant=variant.name,
        adds=variant.adds,
        documents=sum(entry["documents"] for entry in drawn),
        tokens=sum(entry["tokens"] for entry in drawn),
        epochs=epochs,
        bits={seed: result.bits_per_byte for seed, result in runs.items()},
    )


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        Progress.line("ablate", text)
