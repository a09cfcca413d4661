"""A training that is interrupted at any step and started again ends in the bytes of an undisturbed one."""

import json
import struct
from dataclasses import asdict, replace

import pytest
import torch

from assay.training.checkpoint import FILE, Checkpoints, State, longest, save_checkpoint
from assay.training.device import deterministic
from assay.training.optimizers import AdamW, AveragedNetwork
from assay.training.trainer import fit
from assay.utils.concurrency import silent
from tests.helpers.training_tasks import network, training_task

STEPS = 12
"""Three epochs of four."""


class CutOffError(Exception):
    """What stands for a killed process."""


class BreakingDataset:
    """A dataset whose batches fail after a number of steps, counted over all calls."""

    def __init__(self, items, steps):
        self.items, self.left = items, steps

    def __len__(self):
        return len(self.items)

    def batch(self, order, generator):
        if self.left == 0:
            raise CutOffError
        self.left -= 1
        return self.items.batch(order, generator)


def train(task, folder=None, dropout=0.2, seed=0):
    with deterministic(1, seed):
        return fit(network(dropout), task, silent, Checkpoints(folder, "owner", 0.0))


def interrupt(task, folder, steps):
    broken = replace(task, train=BreakingDataset(task.train, steps))
    with pytest.raises(CutOffError):
        train(broken, folder)


def content(training):
    weights = {name: value.numpy().tobytes() for name, value in {**training.chosen, **training.last}.items()}
    return weights, training.chosen_epoch, [asdict(values) for values in training.history]


SETTINGS = {
    "adamw with everything": {"learner": {"accumulate": 3}},
    "sgd without average": {"learner": {"optimizer": "sgd", "learning_rate": 0.05, "ema_decay": 0.0}},
}
MORE_SETTINGS = {
    "plain": {},
    "adamw without average": {"learner": {"ema_decay": 0.0}},
    "sgd": {"learner": {"optimizer": "sgd", "learning_rate": 0.05}},
    "muon": {"learner": {"optimizer": "muon"}},
    "accumulated sgd": {"learner": {"optimizer": "sgd", "learning_rate": 0.05, "accumulate": 2}},
    "in order": {"data_train": {"shuffle": False}},
    "bf16": {"train_params": {"precision": "bf16"}},
    "frozen": {"learner": {"freeze": ["features.[12]"]}},
    "stopped early": {"train_params": {"epochs": 9, "early_stopping": {"patience": 1, "min_delta": 0.2}}},
    "passes that end within epochs": {"train_params": {"steps_per_epoch": 3, "epochs": 4}},
    "last epoch": {"data_validation": None, "train_params": {"choose_epoch": "last"}},
}


def check_every_step(task, folder, steps):
    expected = content(train(task))
    _, _, history = expected
    for step in (step for step in steps if step < 4 * len(history)):
        interrupt(task, folder / str(step), step * task.section.learner.accumulate)
        assert content(train(task, folder / str(step))) == expected, f"interrupted after step {step}"


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.system
def test_a_training_interrupted_within_or_after_an_epoch_ends_in_the_same_bytes(setting, tmp_path):
    check_every_step(training_task(**SETTINGS[setting]), tmp_path, (4, 7))


@pytest.mark.system
@pytest.mark.parametrize("setting", SETTINGS | MORE_SETTINGS)
def test_a_training_interrupted_at_any_step_ends_in_the_same_bytes(setting, tmp_path):
    check_every_step(training_task(**(SETTINGS | MORE_SETTINGS)[setting]), tmp_path, range(STEPS))


@pytest.mark.system
def test_a_training_interrupted_again_and_again_ends_in_the_same_bytes(tmp_path):
    task = training_task()
    expected = content(train(task))
    for _ in range(STEPS - 1):
        interrupt(task, tmp_path, 1)
    assert content(train(task, tmp_path)) == expected


@pytest.mark.system
def test_a_training_that_was_complete_is_not_made_again(tmp_path):
    task = training_task()
    expected = content(train(task, tmp_path))
    assert content(train(replace(task, train=BreakingDataset(task.train, 0)), tmp_path)) == expected


def test_the_global_generator_does_not_matter(tmp_path):
    """Initial weights come from it, everything else from the seed of the training_task."""
    task = training_task()
    assert content(train(task, seed=1)) == content(train(task, seed=2))


def test_images_keep_their_memory_layout(tmp_path):
    """Convolutions of another layout round differently."""
    before = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    copy = torch.empty_like(before.weight).copy_(before.weight.contiguous())
    assert copy.stride() == before.weight.stride() != before.weight.contiguous().stride()


def flip_last_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def other_owner(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b'owner\\": \\"owner', b'owner\\": \\"other'))


def other_format(path):
    path.write_bytes(path.read_bytes().replace(b"assay-checkpoint-1", b"assay-checkpoint-0"))


def foreign(path):
    header = json.dumps({}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


DAMAGES = {
    flip_last_byte: "damaged",
    cut: "checkpoint",
    other_owner: "another training",
    other_format: "format",
    foreign: "format",
}


def state_of(model):
    return State(model, AdamW(model.parameters(), 0.9, 0.0), AveragedNetwork(model, 0.9))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_checkpoint_that_does_not_fit_is_ignored_with_a_sentence(damage, tmp_path, caplog):
    kept, saved = state_of(network()), state_of(network())
    saved.tally.steps = 6
    save_checkpoint(tmp_path / FILE, saved, "owner")
    damage(tmp_path / FILE)
    Checkpoints(tmp_path, "owner").resume(kept)
    assert kept.tally.steps == 0
    assert "is not used" in caplog.text
    assert DAMAGES[damage] in caplog.text


def test_a_checkpoint_of_another_network_is_ignored(tmp_path, caplog):
    save_checkpoint(tmp_path / FILE, state_of(network()), "owner")
    Checkpoints(tmp_path, "owner").resume(state_of(torch.nn.Linear(6, 1)))
    assert "network/weight is missing or of another shape" in caplog.text


ENDS = {
    "plain": {},
    "with early stopping": {"train_params": {"epochs": 4, "early_stopping": {"patience": 3}}},
    "last epoch": {"data_validation": None, "train_params": {"choose_epoch": "last"}},
}


def ended_after(task, stop_after, folder, owner="owner", earlier=()):
    """Train up to an epoch; what goes on later is in ``folder``."""
    params = task.section.train_params.model_copy(update={"stop_after": stop_after})
    section = task.section.model_copy(update={"train_params": params})
    checkpoints = Checkpoints(None, owner, 0.0, folder / FILE, earlier, stop_after)
    with deterministic(1, 0):
        return fit(network(), replace(task, section=section), silent, checkpoints)


@pytest.mark.parametrize("setting", ENDS)
def test_a_training_that_ended_early_is_the_beginning_of_one_that_goes_on(setting, tmp_path):
    task = training_task(**ENDS[setting])
    whole = train(task)
    part = ended_after(task, 1, tmp_path)
    assert part.stopped == f"stop_after ends it at epoch 1 of {whole.planned}"
    assert (part.chosen_epoch, part.history) == (1, whole.history[:1])
    more = ended_after(task, 2, tmp_path / "more", earlier=[tmp_path / FILE])
    assert content(ended_after(task, None, tmp_path, earlier=[tmp_path / FILE, tmp_path / "more" / FILE])) == content(
        whole
    )
    assert more.history == whole.history[:2]


def test_the_longest_beginning_of_the_same_training_is_taken(tmp_path):
    task, names = training_task(), ("one", "two", "other")
    for epochs, name in enumerate(names, start=1):
        ended_after(task, min(epochs, 2), tmp_path / name, "stranger" if name == "other" else "owner")
    paths = [tmp_path / name / FILE for name in names]
    (tmp_path / "broken").write_text("no tensors")
    paths.append(tmp_path / "broken")
    assert longest(paths, "owner", None) == paths[1]
    assert longest(paths, "owner", 1) == paths[0]
    assert longest(paths, "nobody", None) is None


def test_only_a_training_that_is_to_end_early_leaves_its_state(tmp_path):
    ended_after(training_task(), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_not_written_before_they_are_due(tmp_path):
    with deterministic(1, 0):
        fit(network(), training_task(), silent, Checkpoints(tmp_path, "owner", 3600.0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.system
def test_only_one_file_is_kept(tmp_path):
    train(training_task(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
