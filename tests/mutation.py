"""Mutation check: changes a sign, a transpose or a weight in the source, and sees whether the tests notice.

Each mutant is one change of one file. The source is copied, changed, and the tests of that file's room are run on the
copy; a mutant that they pass survives. Run it from anywhere::

    python tests/mutation.py            # all mutants, one at a time
    python tests/mutation.py --jobs 2 --only losses

Exits with 1 if fewer than 90 % of the mutants die, and stops with a message if a fragment is not in its file exactly
once or if the tests fail without any change.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("src") / "couplevi"
PASSING = 0.9
ENDLESS = 900
"""Seconds after which a mutant counts as noticed: it never ends."""

PASSED, FAILED, NOT_COLLECTED, ELSEWHERE = 0, 1, 2, 77
PLUGIN = f"""
import os
from pathlib import Path

import hypothesis
import pytest

phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # the first failure will do, and is the same each time
hypothesis.settings.register_profile("mutation", database=None, derandomize=True, phases=phases)
hypothesis.settings.load_profile("mutation")


def pytest_configure(config):
    import couplevi

    found, wanted = Path(couplevi.__file__).resolve().parent, Path(os.environ["COUPLEVI_MUTANT"]).resolve()
    if found != wanted:
        pytest.exit(f"couplevi comes from {{found}}, not from {{wanted}}", returncode={ELSEWHERE})
"""


class Mutant(NamedTuple):
    """A change of one file of the package."""

    file: str
    fragment: str
    replacement: str
    tests: tuple[str, ...] = ()
    """Tests to run instead of those of the file's room."""

    @property
    def targets(self) -> tuple[str, ...]:
        return self.tests or (f"tests/{self.file.split('/')[0]}",)

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.fragment, self.replacement))
        return f"{self.file}: `{before}` -> `{after}`"


def in_file(file: str, *changes: tuple[str, str]) -> list[Mutant]:
    return [Mutant(file, fragment, replacement) for fragment, replacement in changes]


MUTANTS = [
    *in_file(
        "losses/_links.py",
        ("(z - aggregated)", "(z + aggregated)"),
        ("(z - aggregated).square().mean(dim=1)", "(z - aggregated).square().sum(dim=1)"),
        ("match.sum(dim=1, keepdim=True)", "match.sum(dim=0, keepdim=True).T"),
        ("match @ z_b / torch.where(weight > 0, weight, torch.ones_like(weight))", "match @ z_b"),
        ("(z_a - target).square().mean(dim=1) * (weight[:, 0] > 0)", "(z_a - target).square().mean(dim=1)"),
        ("- 2 * mu_a @ mu_b.T", "+ 2 * mu_a @ mu_b.T"),
        ("-distance / (mu_a.shape[1] * temperature)", "distance / (mu_a.shape[1] * temperature)"),
        ("(mu_a.shape[1] * temperature)", "temperature"),
        ("(mu_a.shape[1] * temperature)", "mu_a.shape[1]"),
        ("torch.where(known_b, 0.0, math.log(unknown_weight))", "torch.where(known_b, math.log(unknown_weight), 0.0)"),
        ("math.log(unknown_weight)", "-math.log(unknown_weight)"),
        ("links / torch.where(total > 0, total, torch.ones_like(total))", "links"),
        ("log_softmax(logits, dim=1)", "log_softmax(logits, dim=0)"),
        ("return -(targets", "return (targets"),
    ),
    *in_file(
        "losses/_profiles.py",
        ("- q.loc**2 -", "+ q.loc**2 -"),
        ("variance = q.scale**2", "variance = q.scale"),
        ("-0.5 * (1 +", "-0.5 * (0 +"),
        ("- variance).sum(dim=1)", "- variance).mean(dim=1)"),
        ("(h - px.mean).square().sum(dim=1)", "(h - px.mean).square().mean(dim=1)"),
        ("return error_weight * ", "return 1.0 * "),
    ),
    *in_file(
        "losses/_reduce.py",
        ("(values * weight).sum()", "values.sum()"),
        ("torch.ones_like(total)", "torch.zeros_like(total)"),
    ),
    *in_file(
        "losses/_consensus.py",
        ("log_q = (q + LOG_FLOOR).log()", "log_q = q.log()"),
        ("log_q - log_q.mean(dim=1, keepdim=True)", "log_q"),
        ("log_q.mean(dim=1, keepdim=True)", "log_q.mean(dim=0, keepdim=True)"),
        ("keepdim=True)) / math.sqrt(q.shape[1])", "keepdim=True))"),
        ("correction=0", "correction=1"),
        ("+ VARIANCE_FLOOR).sqrt()", "+ VARIANCE_FLOOR)"),
        (" + VARIANCE_FLOOR)", ")"),
        (".log() / spread", ".log() * spread"),
        ("/ spread / math.sqrt(q.shape[1])", "/ spread"),
        ("(a - b)", "(a + b)"),
        ("(a - b).square()", "(a - b).abs()"),
        ('"aitchison": aitchison_coordinates', '"aitchison": euclidean_coordinates'),
    ),
    *in_file(
        "losses/_schedules.py",
        ("if progress >= warmup", "if progress > warmup"),
        ("share = progress / warmup", "share = progress"),
        ("math.exp(-10 * (share - 0.5))", "math.exp(10 * (share - 0.5))"),
        (") - low) / (high - low)", ")) / (high - low)"),
        ("(1 - 1 / 25)", "(1 - 1 / 5)"),
        ("math.pi * progress / rise", "math.pi * progress"),
        ("if progress < rise", "if progress > rise"),
        ("(progress - rise) / (1 - rise)", "(progress - rise)"),
        ("rise: float = 0.3", "rise: float = 0.5"),
    ),
    *in_file(
        "dataloaders/_links.py",
        ("np.maximum(self.matrix.sum(axis=1), 1)", "np.minimum(self.matrix.sum(axis=1), 1)"),
        ("np.maximum(self.matrix.sum(axis=0), 1)", "np.asarray(self.matrix.sum(axis=0))"),
        ("np.diff(self.matrix.indptr) > 0", "np.diff(self.matrix.indptr) > 1"),
        ("np.bincount(self.matrix.indices, minlength=self.matrix.shape[1]) > 0", "self.col_excess > 1"),
        ('np.argsort(cols, kind="stable")', "np.arange(len(cols))"),
        ("local = order[place]", "local = place"),
        ("cols[local] == col", "cols[local] >= col"),
        ("self.row_excess[rows[row]]", "self.row_excess[row]"),
        ("self.col_excess[cols[local]]", "self.col_excess[local]"),
        ("confidence / self.col_excess", "confidence * self.col_excess"),
        ("self.row_known[rows]", "self.row_known[: len(rows)]"),
        ("certain.data == 1", "certain.data > 0"),
        ("[row] == 1) & (", "[row] == 1) | ("),
        ("np.repeat(np.cumsum(count) - count, count)", "np.repeat(np.cumsum(count), count)"),
    ),
    *in_file(
        "dataloaders/_units.py",
        ("row + offset[a]", "row"),
        ("col + offset[b]", "col"),
        ("minlength=n_components) > 1", "minlength=n_components) > 2"),
        ("n_components + np.arange(n_all)", "n_components"),
        ("crowded |=", "crowded &="),
        ("units.T[::-1]", "-units.T[::-1]"),
    ),
    *in_file(
        "dataloaders/_dataset.py",
        ("torch.lerp(h[part.other], h, share)", "torch.lerp(h, h[part.other], share)"),
        ("h[part.other]", "h[part.position]"),
        ("(draw[a].position, draw[b].position)", "(draw[b].position, draw[a].position)"),
        ("for tables in (self.links, self.matches)", "for tables in (self.links, self.links)"),
    ),
    *in_file(
        "dataloaders/_sampler.py",
        ("math.ceil(math.ceil(len(self.units) / self.num_replicas)", "math.ceil(math.ceil(len(self.units))"),
        ("(self.seed, self.epoch if self.shuffle else 0)", "(self.seed, 0)"),
        ("(self.seed, self.epoch if self.shuffle else 0)", "(self.seed, self.epoch)"),
        ("(self.seed, self.epoch if self.shuffle else 0)", "(0, self.epoch if self.shuffle else 0)"),
        ("self.epoch < self.release_epoch", "self.epoch <= self.release_epoch"),
        ("np.setdiff1d(self.units, self.held_back)", "self.units"),
        ("rng.permutation(units) if self.shuffle", "units if self.shuffle"),
        ("padded[self.rank :: self.num_replicas]", "padded[:: self.num_replicas]"),
        ("np.setdiff1d(np.concatenate([index[:0], *partners[m]]), index)", "np.unique(np.concatenate([index[:0], *partners[m]]))"),
        ("place < len(index)", "place <= len(index)"),
        ("np.cumsum(has) - 1", "np.cumsum(has) - has[0]"),
        ("place_of_unit[mate[has]], share[has]", "place_of_unit[mate[has]], share[: len(index)]"),
        ("np.maximum(drawn, 1 - drawn)", "drawn"),
        (" & self._mixes[units])", ")"),
        ("pattern.ravel() == group", "pattern.ravel() >= group"),
        (" & (unit_of[0][row] != unit_of[1][col])", ""),
        ("(unit_of[1][col] >= 0)", "(unit_of[0][row] >= 0)"),
        ("sum(found[1:], found[0])", "found[0]"),
        ("tables[a, b], tables[b, a] = further,", "tables[b, a] ="),
        ("(profile < 0) | (np.diff(matrix.indptr)[profile] == 0)", "(np.diff(matrix.indptr)[profile] == 0)"),
        ("standard_exponential(len(row)) / weight", "standard_exponential(len(row)) * weight"),
        ("rank < k", "rank <= k"),
        ("mixup_alpha if shuffle else 0.0", "mixup_alpha"),
    ),
    *in_file(
        "dataloaders/_splitter.py",
        ("np.random.default_rng(seed).permutation(n)", "np.random.default_rng(0).permutation(n)"),
        ("[n_train, n_train + n_validation]", "[n_train, n_train]"),
        ("(self.dataset.units[self.train_idx] >= 0).sum(axis=1) > 1", "(self.dataset.units[self.train_idx] >= 0).any(axis=1)"),
        ("np.random.default_rng((seed, 1))", "np.random.default_rng()"),
        ("shuffled[: self.n_calibration]", "shuffled[self.n_calibration :]"),
        ('self._split(state_dict["seed"])', "self._split(self.seed)"),
        ("held_back=self.calibration_idx", "held_back=None"),
        ("self._loader(self.val_idx, shuffle=False)", "self._loader(self.val_idx, shuffle=True)"),
        ("self._loader(self.val_idx,", "self._loader(self.train_idx,"),
        ("n_partners=self.n_partners", "n_partners=0"),
        ("mixup_alpha=self.mixup_alpha", "mixup_alpha=0.0"),
        ("release_epoch=self.release_epoch", "release_epoch=0"),
        ("np.ceil(train_size * n)", "np.floor(train_size * n)"),
        ("min(n - n_train, ", "max(0, "),
    ),
    *in_file(
        "module/jamie.py",
        ("widths[m][::-1]", "widths[m]"),
        ("(high - low) * torch.sigmoid(", "(high - low) * torch.tanh("),
        ("yield q.loc + q.scale * draw", "yield q.loc + draw"),
        ("weight[m] * z[m] for m", "z[m] for m"),
        ("(a, b, link.row, link.col, link.row_weight)", "(a, b, link.row, link.col, link.col_weight)"),
        ("(b, a, link.col, link.row, link.col_weight)", "(b, a, link.col, link.row, link.row_weight)"),
        ("if self.normalize_block", "if not self.normalize_block"),
        ("share * weight[there] * confidence", "share * weight[here] * confidence"),
        ("share * weight[there] * confidence", "weight[there] * confidence"),
        ("denominator[here].index_add(0, own, pull)", "denominator[here]"),
        ("1 - self.match_weight if pair in matches else 1.0", "1.0"),
        ("1 - self.match_weight if pair in matches else 1.0", "1 - self.match_weight"),
        ("self.decode(modality, q.loc)", "self.decode(modality, q.rsample())"),
        ('inference_outputs["z_aggregated"].items()', 'inference_outputs["z"].items()'),
        ("self.decode(b, z[a][link.row])", "self.decode(b, z[b][link.col])"),
        ("for values in reconstruction_loss.values()]).sum()", "for values in reconstruction_loss.values()]).mean()"),
        ('self.weights["kl"] * kl_weight}', 'self.weights["kl"]}'),
        ('self.weights["kl"] * torch.cat', "torch.cat"),
        ("value.detach() for name", "value for name"),
        ('kl_divergence(inference_outputs["qz"][m])[batch.drawn]', 'kl_divergence(inference_outputs["qz"][m])'),
        ("weighted_mean(error, link.confidence)", "error.mean()"),
        ("self._contrastive(qz[a].loc, qz[b].loc, link)", "self._contrastive(z[a], z[b], link)"),
        ("linked[a].index_fill(0, link.row, 1.0)", "linked[a].index_fill(0, link.row, 0.0)"),
        ("weighted_mean(combination(z[m], aggregated[m]), linked[m])", "combination(z[m], aggregated[m]).mean()"),
        ("(aggregated[b], aggregated[a], f.T)", "(z[b], z[a], f.T)"),
        ("(weight.sum(dim=1) > 0)", "(weight.sum(dim=1) >= 0)"),
        ("(mu_b, mu_a, p.T, link.row_known)", "(mu_b, mu_a, p.T, torch.ones_like(link.row_known))"),
        ("confidences.sum(dim=1).clamp(max=1.0)", "confidences.sum(dim=1)"),
        ("torch.stack(directions).mean()", "torch.stack(directions).sum()"),
    ),
    *in_file(
        "module/cplmixvae.py",
        ("self.index[modality] * self.n_arms", "self.index[modality]"),
        ('likelihood != "gaussian" or self.augmentation_rate > 0', 'likelihood != "gaussian"'),
        ("(COUNTS_PER_CELL / _library(x))", "COUNTS_PER_CELL"),
        ("self.augmentation_rate * torch.rand(len(x), 1", "self.augmentation_rate * torch.ones(len(x), 1"),
        ("torch.where(hidden, self.preparation(modality).mean, x)", "torch.where(hidden, 0.0, x)"),
        ("(1 - rate).expand_as(x)", "rate.expand_as(x)"),
        (".sum(dim=1) - _category_divergence", ".sum(dim=1) + _category_divergence"),
        ("(log_q[:, active].exp() * evidence", "(1.0 * evidence"),
        (".mean(dim=0) - kl_divergence(q_state)", ".mean(dim=0) + kl_divergence(q_state)"),
        (".mean(dim=0) - kl_divergence(q_state)", ".mean(dim=0) - self.state_kl_weight * kl_divergence(q_state)"),
        ("for s in _sigma_points(q_state)]", "for s in [q_state.loc]]"),
        ("math.sqrt(q.loc.shape[1]) * q.scale[:, d]", "q.scale[:, d]"),
        ("yield q.loc - step", "yield q.loc + step"),
        ("one.T @ h / size", "one.T @ h / len(h)"),
        ("own.category.start(h, centers)", "own.category.start(h, -centers)"),
        ("/ size[k].sqrt()", "/ size[k]"),
        ("unexplained[own_rows] -= ", "unexplained[own_rows] += "),
        ("tau=temperature", "tau=1.0"),
        ("hard=True", "hard=False"),
        ("q_state.rsample() if self.training else q_state.loc", "q_state.rsample()"),
        ("self.training and self.augmentation_rate else x", "self.augmentation_rate else x"),
        ("-p.log_prob(target).sum(dim=1)[batch.drawn]", "p.log_prob(target).sum(dim=1)[batch.drawn]"),
        ("kl_divergence(posterior.q_state)[batch.drawn]", "kl_divergence(posterior.q_state)"),
        ("if self.training and batch.drawn.any()", "if batch.drawn.any()"),
        ('+ self.state_kl_weight * terms["kl_state"]', '+ terms["kl_state"]'),
        ("self.state_kl_weight * torch.cat(state)", "torch.cat(state)"),
        ('coupling_scale * self.coupling_weight * terms["coupling"]', 'self.coupling_weight * terms["coupling"]'),
        ("arm.head.adapt((target - p.mean)[batch.drawn])", "arm.head.adapt(target - p.mean)"),
        ("p.log_q[:, self.active].exp()", "p.log_q.exp()"),
        ("p.log_q[:, self.active].exp()", "p.log_q[:, self.active]"),
        ("consensus_distance(a[drawn], b[drawn])", "consensus_distance(a, b)"),
        ("a[link.row], b[link.col]", "a[link.col], b[link.row]"),
        ("b[link.col]), link.confidence)", "b[link.col]), torch.ones_like(link.confidence))"),
        ("(within, between) if values", "(within + between,) if values"),
        ("math.log(own.shape[1])", "math.log(log_q.shape[1])"),
        ("(own.exp() * own).sum(dim=1)", "(own.exp() * own).mean(dim=1)"),
        ("for v in values]).mean()", "for v in values]).sum()"),
    ),
    *in_file(
        "nn/_mixture.py",
        ("-0.5 * centers.square()", "-1.0 * centers.square()"),
        ("INITIAL_GAP / (", "INITIAL_GAP * ("),
        ("self.nearest.bias.copy_(gain * offset)", "self.nearest.bias.copy_(offset)"),
        ("h = self.input_dropout(h)", "h = 1.0 * h"),
        ("self.nearest(h) + self.logits(hidden)", "self.nearest(h)"),
        ("masked_fill(~active, EXCLUDED)", "masked_fill(~active, 0.0)"),
        ("(0.5 * log_variance).exp()", "log_variance.exp()"),
        ("category @ self.centers +", "category @ self.centers -"),
        ("(self.variance + MINIMUM_VARIANCE).sqrt()", "self.variance + MINIMUM_VARIANCE"),
        ("residuals.float().square()", "residuals.float().abs()"),
        ("return NegativeBinomial(mu=library * scale", "return NegativeBinomial(mu=scale"),
        ("return ZeroInflatedNegativeBinomial(mu=library * scale", "return ZeroInflatedNegativeBinomial(mu=scale"),
        ("category @ self.zero_logits", "-category @ self.zero_logits"),
    ),
    *in_file(
        "nn/_blocks.py",
        ("len(x) < 2", "len(x) < 1"),
        ("self.hidden(self.input_dropout(h))", "self.hidden(h)"),
        ("(0.5 * log_variance).exp()", "log_variance.exp()"),
        (".clamp(*LOG_VARIANCE_RANGE)", ""),
    ),
    *in_file(
        "nn/_preparation.py",
        ("self.rms**2 / len(self.mean)", "self.rms / len(self.mean)"),
        ("torch.where(self.scale > 0, 1 / self.scale, 0.0)", "self.scale"),
        ("standardised @ self.components.T) / self.rms", "standardised @ self.components.T)"),
        ("self.rms.fill_(record.rms)", "self.rms.fill_(1.0)"),
    ),
    *in_file(
        "train/_plan.py",
        ("self.global_step / self._n_steps, self.kl_warmup", "self.global_step, self.kl_warmup"),
        ('return {"kl_weight": 1.0}', "return self.scheduled()"),
        ('if p.ndim > 1], "weight_decay": self.weight_decay', 'if p.ndim > 1], "weight_decay": 0.0'),
        ('if p.ndim <= 1], "weight_decay": 0.0', 'if p.ndim <= 1], "weight_decay": self.weight_decay'),
        ("self.trainer.max_epochs * self.trainer.num_training_batches", "self.trainer.max_epochs"),
        ("total.detach() / losses.n_obs_minibatch", "total.detach()"),
        ('"elbo_{mode}": reconstruction + kl', '"elbo_{mode}": reconstruction - kl'),
        ("losses.loss.detach()", "losses.loss"),
        ("for step in steps]).mean()", "for step in steps]).sum()"),
        ("steps.clear()", "steps"),
    ),
    *in_file(
        "train/_rounds.py",
        ("(self.temperature - INITIAL_TEMPERATURE) * progress", "(INITIAL_TEMPERATURE - self.temperature) * progress"),
        ("progress / COUPLING_WARMUP", "progress"),
        ('"temperature": self.temperature, "coupling_scale": 1.0', '"temperature": 1.0, "coupling_scale": 1.0'),
        ("bisect_right(ends, self.global_step)", "bisect_right(ends, self.global_step + 4)"),
        ("0.02 + 0.98 * progress / RISE", "0.98 * progress / RISE"),
        ("(1 + math.cos(math.pi * progress)) / 2", "(1 + math.cos(math.pi * progress))"),
        ("trainer.current_epoch + 1 in self.ends", "trainer.current_epoch in self.ends"),
        ("|= not self.judge(", "|= self.judge("),
        ("self.begin(trainer.datamodule.train_idx)", "self.begin(trainer.datamodule.val_idx)"),
        ("self.judge(data.train_idx, data.val_idx)", "self.judge(data.val_idx, data.train_idx)"),
        ('loss_kwargs={"coupling_scale": scale}', 'loss_kwargs={"coupling_scale": 1.0}'),
    ),
    *in_file(
        "train/_callbacks.py",
        ("value < self.best", "value > self.best"),
        ("epoch <= self.warmup_epochs", "epoch < self.warmup_epochs"),
        ("if self.failed or (self.restore", "if (self.restore"),
        ("trainer.should_stop |= self.failed", "trainer.should_stop |= False"),
        ('math.isfinite(metrics["train_loss"]) and', ""),
        ("and all(p.isfinite().all() for p in pl_module.module.parameters())", ""),
        ("self.best = value\n            self._state = copy.deepcopy(pl_module.module.state_dict())", "self.best = value\n            self._state = pl_module.module.state_dict()"),
        ("trainer.current_epoch == data.release_epoch and", ""),
        ("np.setdiff1d(data.train_idx, data.calibration_idx)", "data.train_idx"),
    ),
    *in_file(
        "preparation/_fit.py",
        ("components * np.sign(largest)[:, None]", "-components * np.sign(largest)[:, None]"),
        ("np.sqrt(variances.mean())", "variances.mean()"),
        ("divisor = (scale / weight)", "divisor = (scale * weight)"),
        ("scaler.scale_, 0.0)", "scaler.scale_, 1.0)"),
        ("correlation * np.outer(weight, weight)", "correlation * weight"),
        ("np.square(components / pilot_weight)", "np.square(components * pilot_weight)"),
        ("(communality - by_chance) / (1 - by_chance)", "communality"),
        ("weight / np.sqrt(np.square(weight[varies]).mean())", "weight"),
        ("gram / matrix.shape[0]", "gram / (matrix.shape[0] - 1)"),
        ("vectors[:, ::-1].T", "vectors.T"),
        ("np.linalg.qr(product)[0]", "basis"),
        ("loadings = basis * gain", "loadings = basis"),
        ("* gain / matrix.shape[0]", "/ matrix.shape[0]"),
    ),
    *in_file(
        "preparation/_record.py",
        ("inverse_scale(self.scale) / self.rms", "inverse_scale(self.scale)"),
        ("(self.components * gain).T", "self.components.T"),
        ("(np.asarray(x) - self.mean) @ loadings", "np.asarray(x) @ loadings"),
        ("- self.mean @ loadings", "+ self.mean @ loadings"),
        ("(self.scale * np.float32(self.rms)) + self.mean", "self.scale + self.mean"),
        ("(dense(x) - self.mean)", "dense(x)"),
    ),
    *in_file(
        "preparation/_rows.py",
        ("range(0, matrix.shape[0], step)", "range(0, matrix.shape[0] - 1, step)"),
        ("chunk @ weights", "chunk @ np.ones_like(weights)"),
        ("self.preparation.transform(self.matrix[self.order[rows]])", "self.preparation.transform(self.matrix[rows])"),
        ("dense(self.matrix[self.order[rows]])", "dense(self.matrix[rows])"),
        ("place[order] = np.arange(len(order))", "place[np.arange(len(order))] = order"),
        ("out[place[part]]", "out[part]"),
    ),
    Mutant(
        "dataloaders/_units.py", "units[np.lexsort(units.T[::-1])]", "units[::-1]", ("tests/model/test_invariance.py",)
    ),
]  # fmt: skip


def check_fragments(mutants: Iterable[Mutant]) -> None:
    """Exit unless each fragment is in its file exactly once, and is changed."""
    wrong = []
    for mutant in mutants:
        times = (ROOT / PACKAGE / mutant.file).read_text().count(mutant.fragment)
        if times != 1 or mutant.fragment == mutant.replacement:
            wrong.append(f"{mutant}: found {times} times")
    if wrong:
        raise SystemExit("Expected each fragment exactly once in its file:\n" + "\n".join(wrong))


def run_tests(tests: Sequence[str], source: Path, base: Path) -> tuple[bool, str]:
    """Whether the tests pass on a copy of the package, and what pytest says; that they never end is a failure."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(source), str(base / "plugin")]),
        "COUPLEVI_MUTANT": str(source / "couplevi"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", *tests, "-x", "-q", "-n0", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, "-p", "mutation_plugin"], cwd=base, env=environment, capture_output=True, text=True, timeout=ENDLESS
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, f"not done after {ENDLESS} seconds"
    if done.returncode not in (PASSED, FAILED, NOT_COLLECTED):
        raise SystemExit(f"The tests did not run ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.returncode == PASSED, done.stdout + done.stderr


def copy_source(base: Path, source: Path) -> Path:
    shutil.copytree(base / PACKAGE, source / "couplevi", ignore=shutil.ignore_patterns("__pycache__"))
    return source


def survives(mutant: Mutant, base: Path) -> bool:
    """Whether the tests pass with the mutant."""
    with tempfile.TemporaryDirectory(dir=base) as folder:
        source = copy_source(base, Path(folder))
        file = source / "couplevi" / mutant.file
        file.write_text(file.read_text().replace(mutant.fragment, mutant.replacement))
        start = time.monotonic()
        survived, _ = run_tests(mutant.targets, source, base)
    print(f"{'SURVIVED' if survived else 'killed  '} {time.monotonic() - start:4.0f} s  {mutant}", flush=True)
    return survived


def snapshot(base: Path) -> None:
    """Copy what is needed, so that nobody's edits meanwhile count, and see that the tests pass there."""
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, base / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / name, base)
    (base / "plugin").mkdir()
    (base / "plugin" / "mutation_plugin.py").write_text(PLUGIN)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--only", default="", help="mutants whose file or change holds this text")
    arguments = parser.parse_args()
    mutants = [m for m in MUTANTS if arguments.only in str(m)]
    if not mutants:
        raise SystemExit(f"No mutant holds {arguments.only!r}.")
    check_fragments(mutants)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        snapshot(base)
        unchanged = copy_source(base, base / "unchanged")
        for tests in sorted({m.targets for m in mutants}):
            passed, output = run_tests(tests, unchanged, base)
            if not passed:
                raise SystemExit(f"{output}\n{' '.join(tests)} fail without any mutant.")
        with ThreadPoolExecutor(arguments.jobs) as pool:
            survived = list(pool.map(lambda mutant: survives(mutant, base), mutants))
    left = [m for m, alive in zip(mutants, survived, strict=True) if alive]
    score = 1 - len(left) / len(mutants)
    print("".join(f"\nsurvived: {m}" for m in left))
    print(f"{len(mutants) - len(left)} of {len(mutants)} mutants killed: {score:.1%}")
    return int(score < PASSING)


if __name__ == "__main__":
    sys.exit(main())
