"""Shipped networks: what a card says is so, their files are those of the cards, and how both are made."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.command import called, written

from qmcbench import checkpoint, evaluation, reference
from qmcbench.config import Sampling
from qmcbench.errors import UserError
from qmcbench.exact import exact_energy_of
from qmcbench.jobs.ship import main, ship
from qmcbench.reference import NetworkCard, networks
from qmcbench.store.energies import Energy
from qmcbench.structure import structure
from qmcbench.training import load_ansatz, read_log

CARDS = reference.checkpoints()
ROUNDING = 1e-6
"""Of an energy per site by a full sum, between processors: amplitudes are in float32."""
CHAINS, ROUNDS = 256, 12
"""For an energy by samples; a quarter of the chains beyond 6x6, a sixteenth beyond 10x10."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, the second from the first, and full sums of both: ``a``, ``b``, ``a-energy``, ``b-energy``."""
    folder = tmp_path_factory.mktemp("trained")
    first = written(folder, 2)
    second = folder / "second.toml"
    start = (
        f'\n[wavefunction]\nsymmetry = "none"\nstart = {json.dumps(str(folder / "a" / "checkpoint.safetensors"))}\n'
    )
    second.write_text(first.read_text() + start)
    for name, config in (("a", first), ("b", second)):
        assert called("train", str(config), "--out", str(folder / name), "--quiet").returncode == 0
        path = folder / name / "checkpoint.safetensors"
        done = called("evaluate", str(path), "--exact", "--out", str(folder / f"{name}-energy"), "--quiet")
        assert done.returncode == 0, done.stderr
    return folder


def test_networks_are_shipped() -> None:
    """Of 4x4 and 6x6 at least, J2 = 0.5."""
    assert {(4, 0.5), (6, 0.5)} <= {(card.L, card.J2) for card in CARDS}


@pytest.mark.parametrize("card", CARDS, ids=[card.name for card in CARDS])
def test_a_card_is_what_its_type_says(card: NetworkCard) -> None:
    """No key too many, and the file beside it is of the same configuration, parameters and size: tens of kB."""
    text = card.path.with_suffix(".json").read_text()
    assert structure(json.loads(text), NetworkCard, card.name) == card
    stored = checkpoint.read(reference.checkpoint(card.name))
    assert (stored.state, stored.chains, stored.optimizer) == (None, None, None)
    assert sum(each.numel() for each in stored.parameters.values()) == card.parameters
    assert card.path.stat().st_size < 4 * card.parameters + 8192
    own = {"start": None, "symmetry": card.symmetry}
    kept = {**card.configuration, "wavefunction": {**card.configuration["wavefunction"], **own}}
    # Keys that later versions have added stand in the one and not in the other.
    found = stored.config.to_dict()
    assert all(found[section][key] == value for section, values in kept.items() for key, value in values.items())
    assert not any(word.startswith("/") for stage in card.stages for word in stage.command.split())


@pytest.mark.parametrize(
    "card",
    [pytest.param(card, id=card.name, marks=[pytest.mark.slow] if card.L > 6 else []) for card in CARDS],
)
def test_a_network_has_the_energy_of_its_card(card: NetworkCard, tmp_path: Path) -> None:
    """By a full sum on 4x4, to rounding; else by fresh samples, within four standard errors."""
    path, said = Path(f"reference:{card.name}"), card.evaluation
    assert said.exact == pytest.approx(reference.exact(card.L, card.J2).energy) if card.L <= 6 else True
    if card.L == 4:
        found = exact_energy_of(path, quiet=True)
        assert abs(found.energy - said.energy) < ROUNDING + 4 * said.error
        if said.infidelity is not None:
            assert found.infidelity == pytest.approx(said.infidelity, rel=0.01)
        return
    chains = CHAINS if card.L <= 6 else CHAINS // 4 if card.L <= 10 else CHAINS // 16
    sampling = Sampling(chains=chains, warm_up=20, alpha=2.0)
    request = evaluation.Request(
        checkpoint=path, out=tmp_path, samples=ROUNDS * chains, sampling=sampling, seed=11, quiet=True
    )
    (energy,) = evaluation.evaluate(request).of(Energy)
    assert energy.network.sha256 == card.sha256
    assert energy.value is not None
    assert energy.sigma is not None
    assert abs(energy.value - said.energy) < 4 * math.hypot(energy.sigma, said.error)
    assert energy.sigma < 1e-3


def test_another_file_than_the_cards_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are hashed whenever it is read by name; a name that is none is named, with those there are."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(networks.FOLDER, folder)
    monkeypatch.setattr(networks, "FOLDER", folder)
    name = CARDS[0].name
    path = folder / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"has the SHA-256 .* but its card says"):
        load_ansatz(Path(f"reference:{name}"))
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load_ansatz(Path(f"reference:{name}"))
    with pytest.raises(UserError, match=rf"no trained network 'none' here: choose one of {name}"):
        load_ansatz(Path("reference:none"))


def test_a_card_is_made_of_a_run_and_its_evaluation(trained: Path, tmp_path: Path) -> None:
    """Both stages with their steps, samples and seconds, the energy, and weights that are the run's; no folders."""
    card = ship(trained / "b", trained / "b-energy", tmp_path, "mine")
    first, second = card.stages
    logs = [read_log(trained / name / "log.jsonl") for name in ("a", "b")]
    assert [stage.seconds for stage in card.stages] == [
        round(sum(step.seconds["step"] for step in log), 1) for log in logs
    ]
    assert [stage.samples for stage in card.stages] == [16, 16]
    assert (first.configuration["wavefunction"]["start"], card.start) == (None, None)
    assert second.configuration["wavefunction"]["start"] == "the stage before"
    assert (card.configuration["wavefunction"]["symmetry"], card.symmetry, card.licence) == (
        "none", "none", "Apache-2.0"
    )  # fmt: skip
    psi, config = load_ansatz(trained / "b" / "checkpoint.safetensors")
    shipped, other = load_ansatz(tmp_path / "mine.safetensors")
    assert all((psi.state_dict()[name] == value).all() for name, value in shipped.state_dict().items())
    assert other == replace(config, wavefunction=replace(config.wavefunction, start=None))
    found = exact_energy_of(tmp_path / "mine.safetensors", quiet=True)
    said = card.evaluation
    assert (said.energy, said.error, said.v_score) == (found.energy, 0.0, found.v_score)
    assert said.how == "full sum over 12870 configurations"
    assert str(trained) not in (tmp_path / "mine.json").read_text()
    assert str(trained).encode() not in (tmp_path / "mine.safetensors").read_bytes()
    assert networks.parse((tmp_path / "mine.json").read_text()) == card


def test_a_network_is_shipped_with_the_symmetry_of_its_evaluation(trained: Path, tmp_path: Path) -> None:
    """Parameters as they were trained, under more images: the full sum of what is shipped is that of the card."""
    path = trained / "b" / "checkpoint.safetensors"
    done = called("evaluate", str(path), "--exact", "--symmetry", "full", "--out", str(tmp_path / "e"), "--quiet")
    assert done.returncode == 0, done.stderr
    card = ship(trained / "b", tmp_path / "e", tmp_path, "more")
    assert (card.symmetry, card.configuration["wavefunction"]["symmetry"]) == ("full", "none")
    assert load_ansatz(tmp_path / "more.safetensors")[1].wavefunction.symmetry == "full"
    found = exact_energy_of(tmp_path / "more.safetensors", quiet=True)
    assert found.energy == pytest.approx(card.evaluation.energy, abs=1e-9)
    assert card.evaluation.how == "full sum over 107 orbits of the sector " + found.sector


def test_a_card_is_of_the_steps_that_a_run_started_from(trained: Path, tmp_path: Path) -> None:
    """The first run goes on afterwards: the card has its steps and seconds up to the start. Trained anew, no card."""
    runs, energy = tmp_path / "runs", tmp_path / "energy"
    shutil.copytree(trained / "a", runs / "a")
    start = json.dumps(str(runs / "a" / "checkpoint.safetensors"))
    second = tmp_path / "second.toml"
    second.write_text(f'{written(tmp_path, 2).read_text()}\n[wavefunction]\nsymmetry = "none"\nstart = {start}\n')
    assert called("train", str(second), "--out", str(runs / "b"), "--quiet").returncode == 0
    path = runs / "b" / "checkpoint.safetensors"
    assert called("evaluate", str(path), "--exact", "--out", str(energy), "--quiet").returncode == 0
    before = ship(runs / "b", energy, tmp_path, "before")
    longer = str(written(tmp_path, 4))
    assert called("train", longer, "--out", str(runs / "a"), "--quiet").returncode == 0
    after = ship(runs / "b", energy, tmp_path, "after")
    assert [(stage.steps, stage.seconds) for stage in after.stages] == [
        (stage.steps, stage.seconds) for stage in before.stages
    ]
    assert [stage.steps for stage in after.stages] == [2, 2]
    config = tmp_path / "other.toml"
    config.write_text(f"{Path(longer).read_text()}seed = 9\n")
    assert called("train", str(config), "--out", str(runs / "a"), "--restart", "--quiet").returncode == 0
    with pytest.raises(UserError, match=r"started from another checkpoint .* restore that file"):
        ship(runs / "b", energy, tmp_path, "none")


def test_a_card_cannot_be_made_of_what_does_not_belong_together(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An evaluation of another run, a folder without a run, a name that is a path; nothing is written."""
    attempts = {
        "has no energy of the checkpoint": (trained / "a", trained / "b-energy"),
        "holds no checkpoint.safetensors": (trained, trained / "a-energy"),
        "is no name of a file": (trained / "a", trained / "a-energy", "--name", "../x"),
    }
    for words, (run, energy, *more) in attempts.items():
        assert main([str(run), "--evaluation", str(energy), "--out", str(tmp_path / "out"), *map(str, more)]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_starts_from_a_shipped_network(trained: Path, tmp_path: Path) -> None:
    """By its name, and the card of what comes out says so."""
    name = next(card.name for card in CARDS if card.L == 4)
    config = tmp_path / "run.toml"
    config.write_text(written(tmp_path, 1).read_text() + f'\n[wavefunction]\nstart = "reference:{name}"\n')
    assert called("train", str(config), "--out", str(tmp_path / "c"), "--quiet").returncode == 0
    # Fresh parameters begin near 0 after one sweep from the Neel state.
    (step,) = read_log(tmp_path / "c" / "log.jsonl")
    assert step.energy < -0.45
    path = tmp_path / "c" / "checkpoint.safetensors"
    assert called("evaluate", str(path), "--exact", "--out", str(tmp_path / "e"), "--quiet").returncode == 0
    assert ship(tmp_path / "c", tmp_path / "e", tmp_path).start == f"reference:{name}"


def test_the_command_lists_them_and_shows_one() -> None:
    """All names, and of one the configuration as a file that `train` reads; JSON has the card."""
    listed = called("reference", "networks")
    assert listed.returncode == 0
    assert all(card.name in listed.stdout for card in CARDS)
    card = CARDS[0]
    shown = called("reference", "networks", card.name).stdout
    assert card.sha256 in shown
    assert f"\n[model]\nL = {card.L}\nJ2 = {card.J2}\n" in shown
    plain = json.loads(called("reference", "networks", card.name, "--json").stdout)
    assert structure(plain, NetworkCard, "printed") == card
    assert len(json.loads(called("reference", "networks", "--json").stdout)) == len(CARDS)
    wrong = called("reference", "networks", "nobody")
    assert wrong.returncode == 2
    assert "no trained network 'nobody'" in wrong.stderr


def test_gates_take_one_by_name() -> None:
    """`qmcbench gate reference:NAME` is about that network."""
    name = next(card.name for card in CARDS if card.L == 4)
    done = called("gate", f"reference:{name}", "--quick", "--only", "ansatz/*", "--quiet", "--json")
    assert done.returncode == 0, done.stderr
    assert f"reference:{name}" in done.stdout
