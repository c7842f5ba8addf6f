"""Mutation check: changes a sign, a transpose or a weight in the source, and sees whether the tests notice.

Each mutant is one change of one file. The source is copied, changed, and the tests of that file, then the others of its
room, are run on the copy; a mutant that they pass survives. Run it from anywhere::

    python tools/mutation.py            # all mutants, one at a time: some hours
    python tools/mutation.py --jobs 2 --only losses
    python tools/mutation.py --check    # only sees that each change can be made

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
ENDLESS = 1_800
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
    """Tests to run instead of those of the file and its room."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The test file of the changed file, which most likely notices, and the folder that it is in."""
        place = Path(self.file)
        room = Path("tests") / place.parent
        return self.tests or (str(room / f"test_{place.stem.removeprefix('_')}.py"), str(room))

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.fragment, self.replacement))
        return f"{self.file}: `{before}` -> `{after}`"


def in_file(file: str, *changes: tuple[str, str]) -> list[Mutant]:
    """Mutants of one file, each a fragment and what replaces it."""
    return [Mutant(file, fragment, replacement) for fragment, replacement in changes]


MUTANTS = [
    *in_file(
        "losses/_links.py",
        ("mse_loss(z, aggregated", "mse_loss(z, -aggregated"),
        ('reduction="none").mean(dim=1)', 'reduction="none").sum(dim=1)'),
        ("match.sum(dim=1, keepdim=True)", "match.sum(dim=0, keepdim=True).T"),
        ("match @ z_b / torch.where(weight > 0, weight, torch.ones_like(weight))", "match @ z_b"),
        ("(z_a - target).square().mean(dim=1) * (weight[:, 0] > 0)", "(z_a - target).square().mean(dim=1)"),
        ("torch.addmm(offset, mu_a * scale", "torch.addmm(offset, -mu_a * scale"),
        ("- 0.5 * scale * mu_b.square()", "+ 0.5 * scale * mu_b.square()"),
        ("(mu_a.shape[1] * temperature)", "temperature"),
        ("(mu_a.shape[1] * temperature)", "mu_a.shape[1]"),
        ("torch.where(known_b, 0.0, math.log(unknown_weight))", "torch.where(known_b, math.log(unknown_weight), 0.0)"),
        ("math.log(unknown_weight)", "-math.log(unknown_weight)"),
        (" / (total + (total == 0))", ""),
        ("log_softmax(logits, dim=1)", "log_softmax(logits, dim=0)"),
        ("return -(links * found)", "return (links * found)"),
        ("~comparable & (links == 0)", "~comparable"),
        ("logits.masked_fill(apart", "logits.masked_fill(~apart"),
    ),
    *in_file(
        "losses/_profiles.py",
        ("- q.loc**2 -", "+ q.loc**2 -"),
        ("variance = q.scale**2", "variance = q.scale"),
        ("-0.5 * (1 +", "-0.5 * (0 +"),
        ("- variance).sum(dim=1)", "- variance).mean(dim=1)"),
        ("/ px.scale).square().sum(dim=1)", "/ px.scale).square().mean(dim=1)"),
        ("return error_weight * ", "return 1.0 * "),
    ),
    *in_file(
        "losses/_reduce.py",
        ("(values * weight).sum()", "values.sum()"),
        ("(total + (total == 0))", "total"),
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
        ("torch.lerp(own[part.other], own, share)", "torch.lerp(own, own[part.other], share)"),
        ("own[part.other]", "own[part.position]"),
        ("np.where(place >= 0, self.covariates", "np.where(place > 0, self.covariates"),
        (": self.n_batches].argmax(axis=1)", ": self.n_batches].argmin(axis=1)"),
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
        ("np.setdiff1d(np.concatenate(partners[m]), index)", "np.unique(np.concatenate(partners[m]))"),
        ("place < len(index)", "place <= len(index)"),
        ("np.cumsum(has) - 1", "np.cumsum(has) - has[0]"),
        ("place_of_unit[mate[has]], share[has]", "place_of_unit[mate[has]], share[: len(index)]"),
        ("np.maximum(drawn, 1 - drawn)", "drawn"),
        ("np.unique(groups[groups >= 0])", "np.unique(groups)"),
        ("groups == group", "groups >= group"),
        (" & (unit_of[0][row] != unit_of[1][col])", ""),
        ("(unit_of[1][col] >= 0)", "(unit_of[0][row] >= 0)"),
        ("sum(found[1:], found[0])", "found[0]"),
        ("tables[a, b], tables[b, a] = further,", "tables[b, a] ="),
        ("(profile >= 0) & (np.diff(matrix.indptr)[profile] > 0)", "(np.diff(matrix.indptr)[profile] > 0)"),
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
        ("[apart_first][: self.n_calibration]", "[apart_first][self.n_calibration :]"),
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
        "model/jamie/module.py",
        ("widths[m][::-1]", "widths[m]"),
        ("(high - low) * torch.sigmoid(", "(high - low) * torch.tanh("),
        ("self.shared(q.scale) * draw", "draw"),
        ("weight[m] * z[m] for m", "z[m] for m"),
        ("(a, b, link.row, link.col, link.row_weight)", "(a, b, link.row, link.col, link.col_weight)"),
        ("(b, a, link.col, link.row, link.col_weight)", "(b, a, link.col, link.row, link.row_weight)"),
        ("if self.normalize_block", "if not self.normalize_block"),
        ("share * weight[there] * confidence", "share * weight[here] * confidence"),
        ("share * weight[there] * confidence", "weight[there] * confidence"),
        ("denominator[here].index_add(0, own, pull)", "denominator[here]"),
        ("1 - self.match_weight if pair in matches else 1.0", "1.0"),
        ("1 - self.match_weight if pair in matches else 1.0", "1 - self.match_weight"),
        ("covariates, self.private(q.loc), library)", "covariates, None, library)"),
        ("self._dropped(private_drawn[m])", "private_drawn[m]"),
        (">= self.private_dropout_rate", "< self.private_dropout_rate"),
        ("told = [of_batch(covariates, n_batches, b) for b in batches] or", "told ="),
        ("covariates[:, n_batches:]], dim=1)", "0 * covariates[:, n_batches:]], dim=1)"),
        ("code_a[:, None] == code_b", "code_a[:, None] != code_b"),
        ("total += slope.T @ slope", "total += slope.T.abs() @ slope.abs()"),
        ("tied = (self.pair_weights - torch.eye", "tied = (self.pair_weights + torch.eye"),
        ("self.pair_weight(*pair) * (1 - self.match_weight", "(1 - self.match_weight"),
        ('inference_outputs["z_aggregated"].items()', 'inference_outputs["z"].items()'),
        ("= z[source][own], covariates", "= z[target][other], covariates"),
        ("torch.stack([*of.values()]).sum()", "torch.stack([*of.values()]).mean()"),
        ('self.weights["kl"] * kl_weight}', 'self.weights["kl"]}'),
        ('self.weights["kl"] * torch.cat', "torch.cat"),
        ("value.detach() for name", "value for name"),
        ('kl_divergence(inference_outputs["qz"][m])[rows]', 'kl_divergence(inference_outputs["qz"][m])'),
        ("weighted_mean(error, link.confidence)", "error.mean()"),
        ("self._contrastive(mu_a, mu_b, link, same)", "self._contrastive(z[a], z[b], link, same)"),
        ("self._contrastive(mu_a, mu_b, link, same)", "self._contrastive(mu_a, mu_b, link, None)"),
        ("linked[a].index_fill(0, link.row, 1.0)", "linked[a].index_fill(0, link.row, 0.0)"),
        ("weighted_mean(combination(z[m], aggregated[m]), linked[m])", "combination(z[m], aggregated[m]).mean()"),
        ("(aggregated[b], aggregated[a], f.T)", "(z[b], z[a], f.T)"),
        ("(weight.sum(dim=1) > 0)", "(weight.sum(dim=1) >= 0)"),
        ("(mu_b, mu_a, back, link.row_known,", "(mu_b, mu_a, back, torch.ones_like(link.row_known),"),
        ("confidences.sum(dim=1).clamp(max=1.0)", "confidences.sum(dim=1)"),
        ("torch.stack(directions).mean()", "torch.stack(directions).sum()"),
    ),
    *in_file(
        "model/cplmixvae/module.py",
        ("self.index[modality] * self.n_arms", "self.index[modality]"),
        ("is_count or self.augmentation_rate > 0", "is_count"),
        ("self.augmentation_rate * torch.rand(len(x), 1", "self.augmentation_rate * torch.ones(len(x), 1"),
        ("torch.where(hidden, self.observation(modality).preparation.mean, values)", "torch.where(hidden, 0.0, values)"),
        ("(1 - rate).expand_as(values)", "rate.expand_as(values)"),
        (".sum(dim=1) - _category_divergence", ".sum(dim=1) + _category_divergence"),
        ("(log_q[:, active].exp() * evidence", "(1.0 * evidence"),
        (".mean(dim=0) - kl_divergence(q_state)", ".mean(dim=0) + kl_divergence(q_state)"),
        (".mean(dim=0) - kl_divergence(q_state)", ".mean(dim=0) - self.state_kl_weight * kl_divergence(q_state)"),
        ("for s in _sigma_points(q_state)", "for s in [q_state.loc]"),
        ("math.sqrt(q.loc.shape[1]) * q.scale[:, d]", "q.scale[:, d]"),
        ("yield q.loc - step", "yield q.loc + step"),
        ("one.T @ h / size", "one.T @ h / len(h)"),
        ("own.category.start(h, centers,", "own.category.start(h, -centers,"),
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
        "model/cplmixvae/arms.py",
        ("-0.5 * centers.square()", "-1.0 * centers.square()"),
        ("INITIAL_GAP / (", "INITIAL_GAP * ("),
        ("self.nearest.bias.copy_(gain * offset)", "self.nearest.bias.copy_(offset)"),
        ("self.nearest.bias[used] = INITIAL_GAP", "self.nearest.bias[used] = 1e9"),
        ("h = self.input_dropout(h)", "h = 1.0 * h"),
        ("self.nearest(h) + self.logits(hidden)", "self.nearest(h)"),
        ("masked_fill(~active, EXCLUDED)", "masked_fill(~active, 0.0)"),
        ("(0.5 * log_variance).exp()", "log_variance.exp()"),
        ("category @ self.centers +", "category @ self.centers -"),
        ("category @ self.zero_logits", "-category @ self.zero_logits"),
    ),
    *in_file(
        "nn/_heads.py",
        ("(self.variance + MINIMUM_VARIANCE).sqrt()", "self.variance + MINIMUM_VARIANCE"),
        ("residuals.float().square()", "residuals.float().abs()"),
        ("return NegativeBinomial(mu=self.rates(eta, library)", "return NegativeBinomial(mu=self.rates(eta, None)"),
        ("return ZeroInflatedNegativeBinomial(mu=self.rates(eta, library)", "return ZeroInflatedNegativeBinomial(mu=self.rates(eta, None)"),
    ),
    *in_file(
        "nn/_derivative.py",
        ("alpha=-1 / len(weight)", "alpha=1 / len(weight)"),
        ("enter = enter - enter.mean(dim=0)", "enter = enter - enter.mean()"),
        ("[0] * weight * spread", "[0] * spread"),
        ("slopes = own @ slopes", "slopes = own"),
        ("linear(active.detach(), leave, bias)", "linear(active.detach(), leave)"),
    ),
    *in_file(
        "nn/_route.py",
        ("inner @ self.mix[:, columns]", "(inner @ self.mix)[:, :1]"),
        ("chosen + self.offset[columns]", "chosen"),
        ("-self.preparation.mean.astype(np.float64) @ loadings", "self.preparation.mean.astype(np.float64) @ loadings"),
        ("np.eye(len(names))[:, columns]", "np.eye(len(names))[:, np.sort(columns)]"),
        ("deepcopy(module)", "module"),
        ("torch.as_tensor(weight.T)", "torch.as_tensor(weight).reshape(n_out, n_in)"),
    ),
    *in_file(
        "nn/_blocks.py",
        ("len(x) < 2", "len(x) < 1"),
        ("self.input_dropout(h), covariates", "h, covariates"),
        ("self.input_dropout(h), covariates", "self.input_dropout(h), self.input_dropout(covariates)"),
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
        "model/cplmixvae/rounds.py",
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
        (" and bool(weights.isfinite().all())", ""),
        ("name: value.clone() for", "name: value for"),
    ),
    *in_file(
        "preparation/_counts.py",
        ("COUNTS_PER_CELL / library_size(counts)", "1.0 / library_size(counts)"),
        ("counts.sum(dim=1).clamp(min=1.0)", "counts.sum(dim=1)"),
        ("dtype=np.float64).ravel(), 1.0)", "dtype=np.float64).ravel(), 0.0)"),
    ),
    *in_file(
        "preparation/_detected.py",
        ("!= 0)", "> 0)"),
        ("np.concatenate(parts), 1)", "np.concatenate(parts), 2)"),
        (", 1) / n_counted", ", 1)"),
    ),
    *in_file(
        "preparation/_fit.py",
        ("components * np.sign(largest)[:, None]", "-components * np.sign(largest)[:, None]"),
        ("np.sqrt(variances.mean())", "variances.mean()"),
        ("divisor = (scale / weight)", "divisor = (scale * weight)"),
        ("scaler.scale_, 0.0)", "scaler.scale_, 1.0)"),
        ("correlation * np.outer(weight, weight)", "correlation * weight"),
        ("np.square(components / weight)", "np.square(components * weight)"),
        ("(communality - by_chance) / (1 - by_chance)", "communality"),
        ("weight / np.sqrt(np.square(weight[varies]).mean())", "weight"),
        ("gram / self.matrix.shape[0]", "gram / (self.matrix.shape[0] - 1)"),
        ("vectors[:, ::-1].T", "vectors.T"),
        ("np.linalg.qr(sought)[0]", "basis"),
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
        ("values = self.matrix[self.order[rows]]", "values = self.matrix[rows]"),
        ("place[order] = np.arange(len(order))", "place[np.arange(len(order))] = order"),
        ("out[place[part]]", "out[part]"),
    ),
    *in_file(
        "correspondence/_record.py",
        ("linear_sum_assignment(log, maximize=True)", "linear_sum_assignment(log)"),
        ("min(confidence.shape) * (worst - 1)", "(worst - 1)"),
        ("np.where(confidence[rows, columns] > 0, columns, -1)", "columns"),
        ("if _mean_matches(at(middle)) > target", "if _mean_matches(at(middle)) < target"),
        ("matches[matches > 0].mean()", "matches.mean()"),
        ("all(block.converged for", "any(block.converged for"),
        ("weight *= (rows / np.bincount(row, weight, len(rows)).clip(min=1e-300))[row]", "weight *= 1.0"),
    ),
    *in_file(
        "_neighbors.py",
        ("centers[size >= k]", "centers[size >= 0]"),
        ("np.unique(probes[rows])", "probes[rows[:1], 0]"),
        ("index[rows] = searched[found]", "index[rows] = found"),
        ("[size > 0] / size[size > 0, None]", "/ size[:, None]"),
    ),
    *in_file(
        "correspondence/_graph.py",
        ("indices=place[sources])[:, place]", "indices=place[sources])"),
        ("place[sources]", "order[sources]"),
        ("graph.maximum(graph.T)", "graph.minimum(graph.T)"),
        ("min(n_neighbors + 1, len(x))", "min(n_neighbors, len(x))"),
        ("DETOUR * distance[reached]", "distance[reached]"),
        ("np.sqrt(distances.T)", "distances.T"),
        ("x = x - x.mean(axis=0)", "x = x - 0.0"),
        ("minlength=len(chosen)) / len(x)", "minlength=len(chosen)) / len(chosen)"),
    ),
    *in_file(
        "correspondence/_plan.py",
        ("cx.T @ (share * cy)", "cx.T @ cy"),
        ("np.clip(correlations, 0, 1) ** (power / 2)", "np.clip(correlations, 0, 1) ** power"),
        ("(wy @ vt.T * gain)", "(wy @ vt.T)"),
        ("- 2 * a.mean(axis=0) @ b.mean(axis=0)", "+ 2 * a.mean(axis=0) @ b.mean(axis=0)"),
        ("exponent = 1 / (1 + give)", "exponent = 1.0"),
        ("max(ratio**2, LEAST_BLUR)", "max(ratio, LEAST_BLUR)"),
        ("ridge * max(values.mean(), 1e-12)", "ridge * max(values.max(), 1e-12)"),
        ("np.square(pairs.data) - ", "pairs.data - "),
    ),
    *in_file(
        "correspondence/_solver.py",
        ("plan.T, target[::-1], columns, rows", "plan.T, target, columns, rows"),
        ("shared[::-1] if swapped", "shared if swapped"),
        ("plan - plan.multiply(known > 0)", "plan"),
        ("before < COVERAGE * total[row]", "before < COVERAGE"),
        ("np.maximum(excess[0][row], excess[1][column])", "np.minimum(excess[0][row], excess[1][column])"),
        ("(total / np.where(kept > 0, kept, 1))[row[keep]]", "1.0"),
        ("np.outer(rows, columns) / rows.sum()", "np.outer(rows, columns)"),
        ("(rank < n) & (", "(rank <= n) & ("),
    ),
    *in_file(
        "correspondence/_anchored.py",
        ("x[rows], y[columns], links.data", "x[columns], y[rows], links.data"),
        ("self._description(problem.y, columns[chosen])", "self._description(problem.y, rows[chosen])"),
        ("np.square(a[rows] - b[columns])", "np.square(a[columns] - b[rows])"),
    ),
    *in_file(
        "correspondence/_unioncom.py",
        ("f_ky @ f.T @ f_ky - alpha", "f_ky @ f.T @ f_ky + alpha"),
        ("(mu + self.damping * missing_row)[:, None] + lam", "(mu + self.damping * missing_row)[:, None] - lam"),
        ("distortion_gradient(f + known,", "distortion_gradient(f,"),
    ),
    *in_file(
        "correspondence/_gromov.py",
        ("- 2 * (weight * to_a).T @ to_b", "+ 2 * (weight * to_a).T @ to_b"),
        ("(1 - known) / (1 + known)", "(1 + known) / (1 - known)"),
        ("plan.T @ x / np.maximum(columns, 1e-300)[:, None]", "plan.T @ x"),
        ("np.vstack([matched_y, y])", "np.vstack([y[: len(matched_y)], y])"),
        ("all(np.abs(plan - other).sum() > DISTINCT", "any(np.abs(plan - other).sum() > DISTINCT"),
    ),
    *in_file(
        "metrics/_alignment.py",
        ("(own[start : start + step, None], own)", "(own, own)"),
        ("closer_twice = -2 * n", "closer_twice = 0"),
        ("np.count_nonzero(distance < limit)", "np.count_nonzero(distance <= limit)"),
        (".fit(x, labels_x).score(y, labels_y)", ".fit(y, labels_y).score(x, labels_x)"),
        ("y[labels_y >= 0], labels_y[labels_y >= 0]", "y, labels_y"),
    ),
    *in_file(
        "metrics/_baselines.py",
        ("weight[nearest].sum(axis=1, keepdims=True)", "weight[nearest].sum(axis=0)"),
        ("sample_weight=confidence)", "sample_weight=None)"),
    ),
    *in_file(
        "metrics/_imputation.py",
        ("np.clip(r, -1, 1)", "np.clip(r, 0, 1)"),
        ("x > np.median(x, axis=0)", "x >= np.median(x, axis=0)"),
        ("n_high * (n_high + 1) / 2", "n_high * (n_high - 1) / 2"),
        ("middle = (p + q) / 2", "middle = p + q"),
        ("/ (2 * np.log(2))", "/ 2"),
        ("np.sqrt(np.clip(divergence, 0, 1))", "np.clip(divergence, 0, 1)"),
        ("(a > b).sum()", "(a >= b).sum()"),
        ("binomtest(wins, wins + losses)", "binomtest(wins, wins + losses + ties)"),
        ("counts / len(values)", "counts / n_bins"),
        ("np.sqrt(np.square(x - y).mean(axis=0))", "np.abs(x - y).mean(axis=0)"),
        ("x.std(axis=0), 0.0)", "y.std(axis=0), 0.0)"),
    ),
    *in_file(
        "metrics/_intervals.py",
        ("norm.ppf((1 + level) / 2)", "norm.ppf(level)"),
        ("2 / (1 - level) * outside", "outside"),
        ("np.maximum(low - y, 0) + ", ""),
        ("(y >= low) & (y <= high)", "(y >= low) | (y <= high)"),
    ),
    *in_file(
        "metrics/_finite.py",
        ("np.isnan(x) | np.isnan(y)", "np.isnan(x) & np.isnan(y)"),
        ("~np.any([np.isnan(values)", "~np.all([np.isnan(values)"),
    ),
    *in_file(
        "registry/_links.py",
        ("sp.csr_array(links[b, a].T)", "links[b, a]"),
        ("list(orientation) != [a, b]", "sorted(orientation) != sorted([a, b])"),
        ("check_measured(mdata, links, (a, b), where)", "pass"),
        ("profiles_of_obs(mdata, m)[i] for m, i in zip((a, b)", "profiles_of_obs(mdata, m)[i] for m, i in zip((b, a)"),
        ("(rows, columns[rows])", "(rows, rows)"),
    ),
    *in_file(
        "registry/_fields.py",
        ('state.get("kind") == kind', 'state.get("kind")'),
        ("found[a, b] = field", "found[b, a] = field"),
        ("if len(modalities) != 2", "if len(modalities) < 2"),
        ("(modalities[0], modalities[1])", "(modalities[1], modalities[0])"),
        ("if set(pair) not in possible or", "if"),
    ),
    *in_file(
        "registry/_registered.py",
        ("links[a, b] = links_between(written, a, b)", "links[a, b] = links_between(written, b, a)"),
        ("if (a, b) in written or (b, a) in written", "if (a, b) in written"),
        ('elif kind == "correspondence"', "else"),
        ("if key in self.data.obsp and", "if"),
    ),
    *in_file(
        "registry/_reader.py",
        ("columns = names.get_indexer(pd.Index(self.var_names))", "columns = pd.Index(self.var_names).get_indexer(names)"),
        ("if not np.array_equal(names, self.var_names)", "if len(names) != len(self.var_names)"),
        ("return np.where(absent, filled, chosen)", "return chosen"),
        ("sp.diags_array((~absent)", "sp.diags_array((absent | ~absent)"),
        ("seen.high + width", "seen.high + 100 * width"),
        ("now.low < seen.low - width", "now.low < seen.low - 100 * width"),
    ),
    *in_file(
        "registry/_covariates.py",
        ("- self.mean) / self.sd", "- self.mean)"),
        ('key=lambda c: c.kind != "batch"', 'key=lambda c: c.kind == "batch"'),
        ("float(pooled.std()) if np.ptp(pooled) else 1.0", "float(pooled.std())"),
        ("if (codes < 0).any()", "if (codes < 0).all()"),
        ("if key not in data.obs and key in profiles.obs", "if key in profiles.obs"),
        ("np.isfinite(numbers)", "np.isfinite(0 * numbers.sum())"),
        ("return self.batches_of(modality)", "return list(range(len(self.batches)))"),
    ),
    *in_file(
        "model/jamie/embedding.py",
        ("values.clamp(min=0).sqrt()", "values.clamp(min=0)"),
        ("PRIVATE_SHARE * _spread(z)", "_spread(z)"),
        ("x.T @ own", "x.T @ own * 0"),
        ("(spread / own if own > 0 else 0.0)", "spread"),
        ("shared @ weight[:-1] + weight[-1]", "shared @ weight[:-1]"),
        ("(z - z.mean(dim=0))", "z"),
    ),
    *in_file(
        "registry/_places.py",
        ('f"{key}_{c}" if isinstance', 'f"{c}" if isinstance'),
        ("if layer is not None and rep is not None", "if layer is not None and rep is None and False"),
        ("check_single(values, where)", "pass"),
    ),
    *in_file(
        "registry/_setup.py",
        ("if frozenset(pair) not in given", "if frozenset(pair) in given"),
        ("if not repeated and len(names) > 1", "if len(names) > 1"),
        ("if mdata[m].n_obs < 2", "if mdata[m].n_obs < 1"),
    ),
    *in_file(
        "train/_run.py",
        ("kept = self._weights if kind is not None else", "kept = self._weights if kind is None else"),
        ("if self.frozen(n)}", "if not self.frozen(n)}"),
        ("if p.requires_grad and self.frozen(name)", "if self.frozen(name)"),
        ("module.train(self._was_training)", "module.train()"),
        ("parameter.requires_grad_(True)", "parameter.requires_grad_(False)"),
        ("parameter.requires_grad_(False)", "parameter.requires_grad_(True)"),
        ("copy.deepcopy(model.module.state_dict())", "model.module.state_dict()"),
        ('(*model.saved, "trainer")', "model.saved"),
        ("delattr(self.model, name)", "pass"),
    ),
    *in_file(
        "train/_runner.py",
        ("frame.index = frame.index + n_epochs", "frame.index = frame.index"),
        ("pd.concat([before[name], frame])", "pd.concat([frame, before[name]])"),
        ("if self.model.is_trained_ else {}", "if self.model.history_ else {}"),
        ("if epoch >= self.trainer.max_epochs", "if epoch > self.trainer.max_epochs"),
        ('state["epoch"] + 1', 'state["epoch"]'),
        ("model.validation_indices = self.data_splitter.val_idx", "model.validation_indices = self.data_splitter.test_idx"),
    ),
    *in_file(
        "model/_files.py",
        ("UPGRADES[number:]", "UPGRADES[number + 1 :]"),
        ("if number > FORMAT", "if number > FORMAT + 1"),
        ('state = torch.load(path, map_location="cpu", weights_only=True)', 'state = torch.load(path, map_location="cpu", weights_only=False)'),
        (r'r"observations.\1.preparation."', 'r"observations.0.preparation."'),
        (r'r"decoders.\1.output."', r'r"decoders.\1.head.mean."'),
        ("FORMAT_KEY: FORMAT", "FORMAT_KEY: 0"),
        ("os.replace(temporary, path)", "os.replace(temporary, path) if not path.exists() else None"),
        ('"modalities": tuple(pair)}', '"modalities": tuple(pair)[::-1]}'),
        ('name=value["index_name"])', "name=None)"),
        ("return type(value)(to_plain(item) for item in value)", "return [to_plain(item) for item in value]"),
    ),
    *in_file(
        "model/_base.py",
        ("model.module.load_state_dict(state[WEIGHTS])", "pass"),
        ("path.unlink(missing_ok=True)", "pass"),
        ('frozenset({"trainer", "_adata", "_adata_manager"})', 'frozenset({"trainer", "_adata", "_adata_manager", "module"})'),
        ("if folder.exists() and not overwrite", "if False"),
        ('sorted(self.registry_["setup_args"].get(', 'list(self.registry_["setup_args"].get('),
    ),
    *in_file(
        "model/_components.py",
        ("limit = min(n_vars, n_obs - 1)", "limit = min(n_vars, n_obs)"),
        ("wanted >= n_vars or", "wanted > n_vars or"),
        ("n_vars <= MAX_UNREDUCED", "n_vars < MAX_UNREDUCED"),
        ("strict and m in given", "strict"),
    ),
    *in_file(
        "model/_dataset.py",
        ("t[order[a]][:, order[b]]", "t[order[b]][:, order[a]]"),
        ('np.argsort(fingerprints(matrix), kind="stable")', "np.arange(matrix.shape[0])"),
        ("registered.rows(m)[order[m][places]]", "registered.rows(m)[places]"),
        ("rows[places[part]]", "rows[part]"),
        ("min(start + batch_size, matrix.shape[0])", "min(start + batch_size, matrix.shape[0] - 1)"),
    ),
    *in_file(
        "model/_length.py",
        ("math.ceil(n_train / batch_size)", "math.ceil(n_units / batch_size)"),
        ("n_warmup = max(math.ceil(warmup * max_epochs)", "n_warmup = min(math.ceil(warmup * max_epochs)"),
        ("PATIENCE if stops_early else settings.patience", "PATIENCE"),
        ('"validation_loss" if self.stops_early else "train_loss"', '"train_loss"'),
        ("warmup_epochs=self.warmup, restore=True", "restore=True"),
    ),
    *in_file(
        "model/_store.py",
        ("yield arrays[0], arrays[-1]", "yield arrays[-1], arrays[0]"),
        ("unfinished.rename(path)", "shutil.copytree(unfinished, path)\n        raise OSError"),
    ),
    *in_file(
        "model/_fitted_links.py",
        ("inside[a][row] & inside[b][column]", "inside[a][row] | inside[b][column]"),
        ("ends if first == a else ends[:, ::-1]", "ends"),
        ("ends[ends[:, 0] == ends[:, 1], 0]", "ends[:, 0]"),
        ("[order[m]][i[keep]]", "[i[keep]]"),
        ("[self.ends.get(pair, ends[:0]), ends]", "[ends]"),
        ("{**self.ends, **joined}", "joined"),
        ("known.multiply(fitted)", "fitted"),
        ("zip((a, b), self.between(a, b).T", "zip((b, a), self.between(a, b).T"),
        ("(row >= 0) & (column >= 0)", "(row >= -1) & (column >= -1)"),
    ),
    *in_file(
        "model/jamie/uncertainty.py",
        ("np.square(inflation) * variance", "inflation * variance"),
        ("LEVEL, axis=0) / Z)", "LEVEL, axis=0))"),
        ("return spread / N_SAMPLES", "return spread"),
        ("for units in (some, held_back)", "for units in (held_back, some)"),
        ("(table[source] >= 0) & (table[target] >= 0)", "(table[source] >= 0) | (table[target] >= 0)"),
        ("order[target][table[target][both]]", "table[target][both]"),
        ("FEWEST_PAIRS = 4 * MIN_CALIBRATION", "FEWEST_PAIRS = MIN_CALIBRATION"),
        ("np.abs(self.measured - self.mean)", "np.abs(self.mean)"),
        ("trainer.current_epoch == data.release_epoch and", ""),
        ("np.setdiff1d(data.train_idx, data.calibration_idx)", "data.train_idx"),
    ),
    *in_file(
        "model/jamie/inference.py",
        ("q.loc if give_mean else q.sample()", "q.loc"),
        ("weights[m].item() * aggregated", "aggregated"),
        ("weight[rows] += weights[m].item()", "weight[rows] += 1.0"),
        ("total[rows] += ", "total[rows] = "),
        ("module.aggregate(z, links, matches)", "module.aggregate(z, links, {})"),
        ("h, module.shared(q.loc), c, batches", "h, module.shared(q.sample()), c, batches"),
        ("module.shared(q.loc), c, batches, library)", "module.shared(q.loc), c, (), library)"),
        ("private[m][torch.from_numpy(registered.rows(m))] = ", "private[m] = "),
        ("found[m] = error, kl", "found[m] = kl, error"),
        ("module.eval()\n    step =", "module.train()\n    step ="),
    ),
    *in_file(
        "model/jamie/routes.py",
        ("np.eye(len(names))[:, columns]", "np.eye(len(names))[:, np.sort(columns)]"),
        ("record.scale[columns] * np.float32(record.rms)", "record.scale[columns]"),
        ("record.mean[columns].astype(np.float64)", "0 * record.mean[columns].astype(np.float64)"),
        ("record.components[:, columns] * gain", "record.components[:, columns]"),
        ("mix[columns, np.arange(len(columns))] = gain", "mix[np.sort(columns), np.arange(len(columns))] = gain"),
        (".to(module.device).eval()", ".to(module.device).train()"),
        ("observation = module.observation(source)", "observation = module.observation(target or source)"),
    ),
    *in_file(
        "model/cplmixvae/judge.py",
        ("last.categories[np.argmin(agreement)]", "np.argmin(agreement)"),
        ("last.categories[np.argmin(agreement)]", "last.categories[np.argmax(agreement)]"),
        ("agreement.min() < min_consensus and is_coupled", "agreement.min() < min_consensus"),
        ("costs += self.module", "costs = self.module"),
        ("own[places[part]] = ", "own[part] = "),
        ("total[measured[part]] += ", "total[part] += "),
        ("torch.stack(bounds).mean(dim=0)", "torch.stack(bounds).sum(dim=0)"),
        ("a[row[keep]], b[column[keep]]", "a[column[keep]], b[row[keep]]"),
        ("inside[m][row] & inside[other][column]", "inside[m][row] | inside[other][column]"),
        ("entropies.append(-(log_q", "entropies.append((log_q"),
        ("value.detach().cpu().clone()", "value.detach().cpu()"),
        ("held_out.diagonal()[active]", "held_out.diagonal()"),
        ("self._elbo(validation)", "self._elbo(train)"),
    ),
    *in_file(
        "model/cplmixvae/start.py",
        ("labels[m] = renumbered(own, overlap)", "labels[m] = own"),
        ("(own[block.coords[1]], earlier[block.coords[0]])", "(earlier[block.coords[0]], own[block.coords[1]])"),
        ("maximize=True", "maximize=False"),
        ("dataset.units[units] >= 0).all(axis=1)", "dataset.units[units] >= 0).any(axis=1)"),
        ("COMPLETE_SHARE * len(units)", "0.0 * len(units)"),
        ("module.active[:] = False", "module.active[:] = True"),
        ("same_cells=shared", "same_cells=False"),
        ("~np.isin(all_places, places[m])", "np.isin(all_places, places[m])"),
        ("nearest = distance.argmin(axis=1)", "nearest = distance.argmax(axis=1)"),
        ("distance.min(axis=1) <= reach[nearest]", "distance.min(axis=1) < np.inf"),
        ("v.sum(axis=1) / 2", "v.sum(axis=1)"),
        ("[places[other]][:, places[m]]", "[np.sort(places[other])][:, places[m]]"),
    ),
    *in_file(
        "model/cplmixvae/communities.py",
        ("near.maximum(near.T)", "near.minimum(near.T)"),
        ("near.setdiag(0)", "near.setdiag(1)"),
        ("size[row] + size[common.indices] - common.data", "size[row] + size[common.indices]"),
        ("np.minimum(strength[:, None], strength)", "np.maximum(strength[:, None], strength)"),
        ("share.max() < max_connectivity", "share.max() > max_connectivity"),
        ("len(size) <= n_most", "len(size) < n_most"),
        ("len(size) > n_fewest", "len(size) >= n_fewest"),
        ("share = -cdist(centres, centres)", "share = cdist(centres, centres)"),
        ("label_of[label_of > gone] -= 1", "pass"),
    ),
    *in_file(
        "model/cplmixvae/measurement.py",
        ("h - self.centred(told) @ self.effects", "h + self.centred(told) @ self.effects"),
        ("return told - self.mean", "return told"),
        ("N_GROUPS, N_TURNS = 25, 5", "N_GROUPS, N_TURNS = 25, 0"),
        ("fit_predict(h - (told - mean) @ effects)", "fit_predict(h)"),
        ("return values - (total / size)[groups]", "return values"),
        ("~absent if absent.any() else None", "None"),
    ),
    *in_file(
        "model/cplmixvae/selection.py",
        ("np.maximum(counts.sum(axis=1)[:, None]", "np.minimum(counts.sum(axis=1)[:, None]"),
        ("a * n_categories + b", "b * n_categories + a"),
        ("best.elbo - self.elbo", "self.elbo - best.elbo"),
        ("difference.std() / math.sqrt(len(difference))", "difference.std()"),
        ("return mean > error", "return mean > 0"),
        (" or math.isnan(r.consensus)", ""),
        ("max(rounds, key=lambda r: r.elbo.mean())", "min(rounds, key=lambda r: r.elbo.mean())"),
        ("kept = min((r for", "kept = max((r for"),
        ("len(rounds) <= MAX_FAILURES", "len(rounds) < MAX_FAILURES"),
        ("all(r.is_worse(best)", "any(r.is_worse(best)"),
        ("np.argmax([r.consensus", "np.argmin([r.consensus"),
    ),
    *in_file(
        "model/cplmixvae/inference.py",
        ("q[:, categories]", "q[:, : len(categories)]"),
        ("total[place[rows]] += ", "total[place[rows]] = "),
        ("n_measured[place] += 1", "n_measured[place] = 1"),
        ("state[place[rows]] = ", "state[rows] = "),
        ("links_between(links, first, second)", "links_between(links, second, first)"),
        ("for a in arms]).mean(dim=0)", "for a in arms]).sum(dim=0)"),
    ),
    *in_file(
        "model/cplmixvae/training.py",
        ("math.ceil(settings.n_steps / steps_per_epoch)", "math.floor(settings.n_steps / steps_per_epoch)"),
        ("PROFILES_PER_CATEGORY * n_categories", "n_categories"),
        ("elif pruned and len(kept.categories) == n_start", "elif pruned"),
        ("kept.entropy > UNINFORMATIVE", "kept.entropy >= UNINFORMATIVE"),
    ),
    *in_file(
        "tl/_attribution.py",
        ("((nodes + 1) / 2).tolist()", "nodes.tolist()"),
        ("(weights / 2).tolist()", "weights.tolist()"),
        ("return own - background[:, :, 0]", "return own + background[:, :, 0]"),
        ("(total / n_background)", "(total / n_prepared)"),
        ("total[:, start + k : start + k + part.shape[1]]", "total[:, k : k + part.shape[1]]"),
        ("from_h + node * (h - from_h)", "h + node * (h - from_h)"),
        ('"bd,bkd->dk", h - prepared[rows], part', '"bd,bkd->dk", prepared[rows] - h, part'),
    ),
    *in_file(
        "tl/_baselines.py",
        (" / confidence[rows, None]", ""),
        ("np.minimum(confidence[rows], 1)", "np.ones(len(rows))"),
        ("model.fitted_links(source, target)", "model.fitted_links(target, source).T.tocsr()[:, ::-1]"),
    ),
    *in_file(
        "tl/_windows.py",
        ('position["start"] - window', 'position["start"] + window'),
        ('start[near] <= position["end"] + window', 'start[near] < position["end"] + window'),
        ('source["chromosome"] == c', 'source["chromosome"] != c'),
        ("Group(window, features, placed[here])", "Group(window, features, placed)"),
        ("frame.where(frame.notna().all(axis=1))", "frame"),
    ),
    *in_file(
        "tl/_route.py",
        ("for m in model.modalities_:", "for m in model.modalities_[:1]:"),
        ('nn.Sequential(linear(weight, intercept), nn.Softmax(dim=1))', "linear(weight, intercept)"),
    ),
    *in_file(
        "cli/_command.py",
        ("left, right = self.default, text", "left, right = text, self.default"),
        ('text.split(",") if name.strip()]', 'text.split(",")]'),
    ),
    *in_file(
        "cli/_config.py",
        ("[argv[0], *given, *argv[1:]]", "[argv[0], *argv[1:], *given]"),
        ('if value else f"--no-{name}"', 'if value else f"--{name}"'),
    ),
    *in_file(
        "cli/_data.py",
        ("return layers | made", "return layers"),
        ("target_sum=1e4", "target_sum=1e3"),
    ),
    *in_file(
        "cli/_files.py",
        ("if found not in kinds", "if False"),
        ('other == "input" and name == "out" and', 'other == "input" and'),
        ("taken[path.resolve()] = name", "pass"),
        ("index=table.index.name is not None", "index=True"),
        ("put(temporary)", "put(path)"),
    ),
    *in_file(
        "cli/_main.py",
        ("written = data if result.data is None else result.data", "written = data"),
        ("return 2\n", "return 0\n"),
    ),
    *in_file(
        "cli/_perturb.py",
        ("1.0 if arguments.amount is None else arguments.amount", "1.0"),
        ('("--with-model", FITTED) if saved', '("--with-model", FITTED) if not saved'),
    ),
    *in_file(
        "cli/_run.py",
        ("return_sd=arguments.return_sd and has_sd", "return_sd=arguments.return_sd"),
    ),
    *in_file(
        "cli/_summary.py",
        ("and not same(name)", "and name not in before"),
        ("value if math.isfinite(value) else None", "value"),
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
    """Copy the package to be changed; return the folder that it is imported from."""
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
    """Exit status: whether too many mutants survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--only", default="", help="mutants whose file or change holds this text")
    parser.add_argument("--check", action="store_true", help="run nothing, see that each change can be made")
    arguments = parser.parse_args()
    mutants = [m for m in MUTANTS if arguments.only in str(m)]
    if not mutants:
        raise SystemExit(f"No mutant holds {arguments.only!r}.")
    check_fragments(mutants)
    if arguments.check:
        print(f"{len(mutants)} mutants can be made")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        snapshot(base)
        unchanged = copy_source(base, base / "unchanged")
        for tests in sorted({target for m in mutants for target in m.targets[-1:]}):
            passed, output = run_tests([tests], unchanged, base)
            if not passed:
                raise SystemExit(f"{output}\n{tests} fails without any mutant.")
        with ThreadPoolExecutor(arguments.jobs) as pool:
            survived = list(pool.map(lambda mutant: survives(mutant, base), mutants))
    left = [m for m, alive in zip(mutants, survived, strict=True) if alive]
    score = 1 - len(left) / len(mutants)
    print("".join(f"\nsurvived: {m}" for m in left))
    print(f"{len(mutants) - len(left)} of {len(mutants)} mutants killed: {score:.1%}")
    return int(score < PASSING)


if __name__ == "__main__":
    sys.exit(main())
